"""Tells at the end of a run how many of the recorded packets the Plan covers."""

from __future__ import annotations

from collections import Counter

import pytest

GOLDEN_FLOWS = pytest.StashKey[Counter[str]]()


@pytest.fixture
def golden_tally(request: pytest.FixtureRequest) -> Counter[str]:
    """Counted under "covered" or the reason for leaving a packet; printed once, after the tests."""
    return request.config.stash.setdefault(GOLDEN_FLOWS, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash.get(GOLDEN_FLOWS, None)
    if tally:
        counts = ", ".join(f"{count} {what}" for what, count in sorted(tally.items()))
        terminalreporter.write_line(f"golden flows: {counts}")
