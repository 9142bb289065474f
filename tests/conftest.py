"""What all tests share: how hypothesis searches."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Timing never decides a test: the machine may be busy. The same examples in every run: a red test is the change's.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("test", PATIENT)
settings.register_profile("search", PATIENT, derandomize=False, max_examples=1000)  # make test-all
settings.load_profile("test")
