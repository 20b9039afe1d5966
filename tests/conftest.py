"""For all tests: hypothesis tries the same examples on every run and times none of them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fairway", deadline=None, derandomize=True)
settings.load_profile("fairway")
