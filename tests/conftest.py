"""What every test shares: the same drawn examples on every run, and one thread for torch."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Small tensors: threads would spend their time waiting for each other. Read when torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile(
    "scalesearch",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("scalesearch")
