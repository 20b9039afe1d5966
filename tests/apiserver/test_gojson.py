"""Messages of Go's JSON decoder."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.apiserver.gojson import syntax_error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "unexpected end of JSON input"),
        (b"{", "unexpected end of JSON input"),
        (b'{"a":[1,2', "unexpected end of JSON input"),
        (b'"abc', "unexpected end of JSON input"),
        (b"tru", "unexpected end of JSON input"),
        (b"-", "unexpected end of JSON input"),
        (b"nonsense", "invalid character 'o' in literal null (expecting 'u')"),
        (b"\x9e\x89", r"invalid character '\x9e' looking for beginning of value"),
        ("é".encode(), "invalid character 'é' looking for beginning of value"),
        (b"[] x", "invalid character 'x' after top-level value"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"'a'", r"invalid character '\'' looking for beginning of value"),
        (b'"a\nb"', r"invalid character '\n' in string literal"),
        (b'"\\q"', "invalid character 'q' in string escape code"),
        (b'"\\u00g0"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1ex", "invalid character 'x' in exponent of numeric literal"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"01", "invalid character '1' after top-level value"),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_the_first_error_is_named_in_gos_words(text, message):
    assert syntax_error(text) == message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans())
def test_every_json_text_is_accepted(value, ascii_only):
    assert syntax_error(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")) is None


@given(values, st.integers(0, 200))
def test_a_text_is_refused_exactly_where_python_refuses_it(value, cut):
    text = json.dumps(value).encode()[:cut]
    try:
        json.loads(text)
    except ValueError:
        assert syntax_error(text) is not None
    else:
        assert syntax_error(text) is None
