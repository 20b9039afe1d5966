"""For all tests: hypothesis tries the same examples on every run and times none of them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How slow a machine is at drawing examples says nothing of what is tested.
settings.register_profile("fairway", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fairway")
