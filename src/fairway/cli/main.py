"""The console script. It imports next to nothing, so that even an interrupt of the imports is one line."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

SIGNAL_BASE = 128
"""A shell reports a program that a signal ended as this much more than its number (POSIX.1-2017, XCU 2.8.2)."""


def main() -> None:
    """Be `fairway`."""
    try:
        from fairway.cli.verbs import run
    except KeyboardInterrupt:
        say_interrupted()
        sys.exit(SIGNAL_BASE + signal.SIGINT)
    sys.exit(run())


def say_interrupted() -> None:
    """One line, below the ^C that a terminal shows; a terminal that is closed takes none."""
    with suppress(OSError, AttributeError):
        sys.stderr.write("\n" * sys.stderr.isatty() + "fairway: interrupted\n")
        sys.stderr.flush()
