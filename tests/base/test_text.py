"""Text of others in lines of ours."""

import pytest

from fairway.base.text import one_line


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
