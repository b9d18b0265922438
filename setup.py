"""What pyproject.toml cannot say: some folders have other names and places in the wheel.

The application is `app` in a checkout, a name too common to be installed; weights and pictures lie
beside the code, but in its wheel.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["groma*"]),
        "groma.weights",
        "groma_app",
        *(f"groma_app.{name}" for name in find_packages("app")),
        "groma_app.assets",
    ],
    package_dir={"groma.weights": "weights", "groma_app": "app", "groma_app.assets": "assets"},
)
