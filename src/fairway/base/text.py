"""Text of others in lines of ours."""

from __future__ import annotations


def one_line(text: str) -> str:
    """`text` with what does not print, line ends above all, as Python escapes it.

    Names and values of objects are whatever somebody wrote; in a log they must not make lines of their own.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
