"""How long ago something was, in few characters (apimachinery `util/duration/duration.go`)."""

from __future__ import annotations

from datetime import datetime, timedelta

UNKNOWN = "<unknown>"


def age(timestamp: str | None, now: datetime) -> str:
    """Of an RFC 3339 time; `<unknown>` without one."""
    if not timestamp:
        return UNKNOWN
    return human_duration(now - datetime.fromisoformat(timestamp))


def human_duration(passed: timedelta) -> str:
    """One or two units: 5s, 2m5s, 10m, 3h, 2d4h, 30d, 2y30d. A clock that is a little behind counts as 0s."""
    # Go's whole seconds of a negative duration are rounded towards zero.
    seconds = int(passed.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours = seconds // 60, seconds // 3600
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days, years = hours // 24, hours // 24 // 365
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def _two(first: int, first_unit: str, second: int, second_unit: str) -> str:
    return f"{first}{first_unit}{second}{second_unit}" if second else f"{first}{first_unit}"
