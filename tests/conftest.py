"""What every test needs before torch, transformers or gradio is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from hypothesis import settings

# Two busy cores make the first example of a run slow, which says nothing about the code.
settings.register_profile("groma", deadline=None)
settings.load_profile("groma")
