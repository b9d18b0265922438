"""What pyproject.toml cannot say: weights and pictures lie beside the code, but in its wheel."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["groma*"]), "groma.weights", "groma_app.assets"],
    package_dir={"groma.weights": "weights", "groma_app.assets": "assets"},
)
