"""Lines out of chunks cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.base.errors import Retry
from fairway.watch.lines import LineBuffer


@given(st.lists(st.binary(min_size=1).map(lambda line: line.replace(b"\n", b"x") + b"!")), st.data())
def test_lines_come_out_whole_however_the_stream_was_cut(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    buffer = LineBuffer()
    assert [line for chunk in chunks for line in buffer.feed(chunk)] == lines


def test_half_a_line_at_the_end_is_never_handed_out():
    buffer = LineBuffer()
    assert buffer.feed(b'{"a":1}\n\r\n{"b":') == [b'{"a":1}']


def test_a_line_beyond_the_limit_ends_the_stream():
    buffer = LineBuffer(limit=10)
    assert buffer.feed(b"123456") == []
    with pytest.raises(Retry, match="longer than 10 bytes"):
        buffer.feed(b"78901")
