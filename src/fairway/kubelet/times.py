"""Times as the API writes them; inside they are seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(seconds: float) -> str:
    """metav1.Time: RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(seconds: float) -> str:
    """metav1.MicroTime: RFC 3339 in UTC, with six digits."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_timestamp(text: str, default: float) -> float:
    """A metav1.Time; the default for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return default
