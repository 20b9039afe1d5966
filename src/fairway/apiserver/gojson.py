"""What Go's encoding/json says of a text that is no JSON (`encoding/json/scanner.go`): clients see these words."""

from __future__ import annotations

import re

_END = "unexpected end of JSON input"
_SPACE = b" \t\r\n"
_LITERALS = (b"true", b"false", b"null")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class _BadSyntaxError(Exception):
    """The message."""


def syntax_error(data: bytes) -> str | None:
    """The first error of a text, None where it is one JSON value."""
    try:
        end = _space(data, _value(data, _space(data, 0)))
        if end < len(data):
            raise _BadSyntaxError(_invalid(data, end, "after top-level value"))
    except _BadSyntaxError as error:
        return str(error)
    except RecursionError:
        return "exceeded max depth"
    return None


def _invalid(data: bytes, at: int, context: str) -> str:
    return f"invalid character {_quoted(data, at)} {context}" if at < len(data) else _END


_ESCAPES = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 39: r"\'", 92: r"\\"}


def _quoted(data: bytes, at: int) -> str:
    """The character at a position as Go quotes it; a byte that starts none in hexadecimal."""
    byte = data[at]
    if byte in _ESCAPES:
        return f"'{_ESCAPES[byte]}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    try:
        return f"'{data[at : at + length].decode()}'"
    except UnicodeDecodeError:
        return f"'\\x{byte:02x}'"


def _space(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in _SPACE:
        at += 1
    return at


def _value(data: bytes, at: int) -> int:
    first = data[at : at + 1]
    if first == b"{":
        return _object(data, at + 1)
    if first == b"[":
        return _array(data, at + 1)
    if first == b'"':
        return _string(data, at + 1)
    if first and first in b"-0123456789":
        return _number(data, at)
    for literal in _LITERALS:
        if first == literal[:1]:
            return _literal(data, at, literal)
    raise _BadSyntaxError(_invalid(data, at, "looking for beginning of value"))


def _literal(data: bytes, at: int, literal: bytes) -> int:
    for offset, expected in enumerate(literal):
        if data[at + offset : at + offset + 1] != literal[offset : offset + 1]:
            context = f"in literal {literal.decode()} (expecting '{chr(expected)}')"
            raise _BadSyntaxError(_invalid(data, at + offset, context))
    return at + len(literal)


def _number(data: bytes, at: int) -> int:
    found = _NUMBER.match(data, at)
    if found is None:  # Only a lone minus sign starts like a number and is none.
        raise _BadSyntaxError(_invalid(data, at + 1, "in numeric literal"))
    end = found.end()
    following = data[end : end + 1]
    if following == b"." and b"." not in found[0] and not re.search(rb"[eE]", found[0]):
        raise _BadSyntaxError(_invalid(data, end + 1, "after decimal point in numeric literal"))
    if following in (b"e", b"E") and not re.search(rb"[eE]", found[0]):
        after = end + 2 if data[end + 1 : end + 2] in (b"+", b"-") else end + 1
        raise _BadSyntaxError(_invalid(data, after, "in exponent of numeric literal"))
    return end


def _string(data: bytes, at: int) -> int:
    while True:
        char = data[at : at + 1]
        if char == b'"':
            return at + 1
        if char == b"\\":
            at = _escape(data, at + 1)
        elif not char or char < b" ":
            raise _BadSyntaxError(_invalid(data, at, "in string literal"))
        else:
            at += 1


def _escape(data: bytes, at: int) -> int:
    char = data[at : at + 1]
    if char == b"u":
        for offset in range(1, 5):
            if not re.match(rb"[0-9a-fA-F]", data[at + offset : at + offset + 1]):
                raise _BadSyntaxError(_invalid(data, at + offset, "in \\u hexadecimal character escape"))
        return at + 5
    if not char or char not in b'"\\/bfnrt':
        raise _BadSyntaxError(_invalid(data, at, "in string escape code"))
    return at + 1


def _object(data: bytes, at: int) -> int:
    at = _space(data, at)
    if data[at : at + 1] == b"}":
        return at + 1
    while True:
        if data[at : at + 1] != b'"':
            raise _BadSyntaxError(_invalid(data, at, "looking for beginning of object key string"))
        at = _space(data, _string(data, at + 1))
        if data[at : at + 1] != b":":
            raise _BadSyntaxError(_invalid(data, at, "after object key"))
        at = _space(data, _value(data, _space(data, at + 1)))
        if data[at : at + 1] == b"}":
            return at + 1
        if data[at : at + 1] != b",":
            raise _BadSyntaxError(_invalid(data, at, "after object key:value pair"))
        at = _space(data, at + 1)


def _array(data: bytes, at: int) -> int:
    at = _space(data, at)
    if data[at : at + 1] == b"]":
        return at + 1
    while True:
        at = _space(data, _value(data, at))
        if data[at : at + 1] == b"]":
            return at + 1
        if data[at : at + 1] != b",":
            raise _BadSyntaxError(_invalid(data, at, "after array element"))
        at = _space(data, at + 1)
