"""Text of others in lines of ours, and how wide text is."""

from __future__ import annotations

import unicodedata


def one_line(text: str) -> str:
    """`text` with what does not print, line ends above all, as Python escapes it.

    Names and values of objects are whatever somebody wrote; in a log they must not make lines of their own.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def columns(text: str) -> int:
    """How many columns of a terminal text without control characters takes.

    Letters of Korean, Chinese and Japanese take two (UAX #11, East_Asian_Width W and F), combining marks none.
    """
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def pad(text: str, width: int, fill: str = " ") -> str:
    """str.ljust by columns of a terminal; fill: one character, one column wide."""
    return text + fill * (width - columns(text))
