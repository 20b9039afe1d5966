"""Text of others in lines of ours, and how wide text is."""

import pytest

from fairway.base.text import columns, one_line, pad


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("default/web: it's \N{SNOWMAN}", "default/web: it's \N{SNOWMAN}"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\N{LINE SEPARATOR}b", "a\\u2028b"),
    ],
)
def test_what_does_not_print_is_escaped(text, line):
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("S8 DNAT", 7),
        ("파드 3개", 8),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}", 2),
        ("e\N{COMBINING ACUTE ACCENT}", 1),
        ("│ ✔", 3),
    ],
)
def test_korean_letters_take_two_columns(text, width):
    assert columns(text) == width


def test_padding_counts_columns():
    assert pad("파드", 6, "─") == "파드──"
    assert pad("파드", 3) == "파드"
