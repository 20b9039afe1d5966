"""Label and field selectors: their text form, and which objects they select.

Grammar and messages: apimachinery `labels/selector.go` and `fields/selector.go`. Every error is ApiError 400.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fairway.api.status import ApiError
from fairway.api.types import Key, Object


class Operator(enum.Enum):
    """How a requirement compares a label with its values."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = "gt"
    LESS_THAN = "lt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One condition on a label. `=` and `==` are IN with one value, `!=` is NOT_IN."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.GREATER_THAN | Operator.LESS_THAN:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        (bound,) = self.values
        try:
            number = int(value)
        except ValueError:
            return False
        return number > int(bound) if self.operator is Operator.GREATER_THAN else number < int(bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldTerm:
    """One condition on a field: equal or not equal to a value."""

    field: str
    value: str
    negated: bool = False

    def matches(self, fields: Mapping[str, str]) -> bool:
        return (fields.get(self.field, "") == self.value) is not self.negated


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects of a resource a list or watch asks for: those that meet every condition.

    namespace: "" for all. fields_of: the selectable fields of an object (`Strategy.fields`).
    """

    fields_of: Callable[[Object], Mapping[str, str]]
    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Neither labels nor fields restrict it."""
        return not self.labels and not self.fields

    def matches(self, key: Key, obj: Object) -> bool:
        if self.namespace and key.namespace != self.namespace:
            return False
        if self.labels:
            labels = obj["metadata"].get("labels") or {}
            if not all(requirement.matches(labels) for requirement in self.labels):
                return False
        if self.fields:
            if self.exact_name is not None and key.name != self.exact_name:
                return False
            fields = self.fields_of(obj)
            return all(term.matches(fields) for term in self.fields)
        return True

    @property
    def exact_name(self) -> str | None:
        """The one name it can select, where `metadata.name=X` is among its terms."""
        for term in self.fields:
            if term.field == "metadata.name" and not term.negated:
                return term.value
        return None


# Labels


class _Token(enum.Enum):
    IDENTIFIER = enum.auto()
    SYMBOL = enum.auto()
    KEYWORD = enum.auto()
    END = enum.auto()


_SPECIAL = "=!(),><"
_SYMBOLS = ("==", "!=", "=", "!", "(", ")", ",", ">", "<")
_KEYWORDS = ("in", "notin")
_BINARY = ("in", "notin", "=", "==", "!=", "gt", "lt")
_KEY_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_KEY_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`; "" selects everything. Raises ApiError 400."""
    return tuple(_Labels(text).parse())


def _refuse(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


class _Labels:
    """A recursive descent parser over a list of tokens that ends with END."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def parse(self) -> Iterator[Requirement]:
        kind, literal = self._peek()
        while kind is not _Token.END:
            if kind is not _Token.IDENTIFIER and literal != "!":
                raise _refuse(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                yield self._requirement()
            except ApiError as error:
                raise _refuse(f"unable to parse requirement: {error.message}") from None
            kind, literal = self._next()
            if kind is _Token.END:
                return
            if literal != ",":
                raise _refuse(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self._peek()
            if kind is not _Token.IDENTIFIER and literal != "!":
                raise _refuse(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        kind, key = self._next()
        absent = key == "!" and kind is _Token.SYMBOL
        if absent:
            kind, key = self._next()
        if kind is not _Token.IDENTIFIER:
            raise _refuse(f"found '{key}', expected: identifier")
        _check_key(key)
        after, literal = self._peek()
        if after is _Token.END or literal == ",":
            return Requirement(key=key, operator=Operator.DOES_NOT_EXIST if absent else Operator.EXISTS)
        if absent:
            return Requirement(key=key, operator=Operator.DOES_NOT_EXIST)
        return self._binary(key)

    def _binary(self, key: str) -> Requirement:
        _, literal = self._next(keywords=True)
        match literal:
            case "in" | "notin":
                values = self._values()
                operator = Operator.IN if literal == "in" else Operator.NOT_IN
            case "=" | "==" | "!=":
                values = {self._exact_value()}
                operator = Operator.NOT_IN if literal == "!=" else Operator.IN
            case ">" | "<":
                values = {self._exact_value()}
                operator = Operator.GREATER_THAN if literal == ">" else Operator.LESS_THAN
                _check_integer(values)
            case _:
                raise _refuse(f"found '{literal}', expected: {', '.join(_BINARY)}")
        for index, value in enumerate(sorted(values)):
            if _VALUE.fullmatch(value) is None:
                raise _refuse(f'values[{index}][{key}]: Invalid value: "{value}": {_VALUE_RULE}')
        return Requirement(key=key, operator=operator, values=frozenset(values))

    def _values(self) -> set[str]:
        _, literal = self._next()
        if literal != "(":
            raise _refuse(f"found '{literal}' expected: '('")
        kind, literal = self._peek()
        if literal == ")":
            self._next()
            return {""}
        if kind is not _Token.IDENTIFIER and literal != ",":
            raise _refuse(f"found '{literal}', expected: ',', ')' or identifier")
        values: set[str] = set()
        while True:
            kind, literal = self._next()
            if kind is _Token.IDENTIFIER:
                values.add(literal)
                _, following = self._peek()
                if following not in (",", ")"):
                    raise _refuse(f"found '{following}', expected: ',' or ')'")
            elif literal == ",":
                if not values or self._peek()[1] in (",", ")"):
                    values.add("")
            elif literal == ")":
                return values
            else:
                raise _refuse(f"found '{literal}', expected: ',', or identifier")

    def _exact_value(self) -> str:
        kind, literal = self._peek()
        if kind is _Token.END or literal == ",":
            return ""
        self._next()
        if kind is not _Token.IDENTIFIER:
            raise _refuse(f"found '{literal}', expected: identifier")
        return literal

    def _peek(self, *, keywords: bool = False) -> tuple[_Token, str]:
        kind, literal = self._tokens[self._at]
        # "in" and "notin" are operators only where one may stand; elsewhere they are names.
        return (_Token.IDENTIFIER, literal) if kind is _Token.KEYWORD and not keywords else (kind, literal)

    def _next(self, *, keywords: bool = False) -> tuple[_Token, str]:
        token = self._peek(keywords=keywords)
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _tokens(text: str) -> Iterator[tuple[_Token, str]]:
    at = 0
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        literal = next((symbol for symbol in _SYMBOLS if text.startswith(symbol, at)), "")
        if literal:
            yield _Token.SYMBOL, literal
        else:
            literal = re.split(r"[\s" + _SPECIAL + "]", text[at:], maxsplit=1)[0]
            yield (_Token.KEYWORD if literal in _KEYWORDS else _Token.IDENTIFIER), literal
        at += len(literal)
    yield _Token.END, ""


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or _KEY_PREFIX.fullmatch(prefix) is None):
        raise _refuse(
            f'<nil>: Invalid value: "{key}": prefix part a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    if len(name) > 63:
        raise _refuse(f'<nil>: Invalid value: "{key}": name part must be no more than 63 bytes')
    if _KEY_NAME.fullmatch(name) is None:
        raise _refuse(f'<nil>: Invalid value: "{key}": {_KEY_RULE}')


def _check_integer(values: set[str]) -> None:
    (value,) = values
    if re.fullmatch(r"[+-]?[0-9]{1,18}", value) is None:
        raise _refuse(f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, the value must be an integer")


# Fields


def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    r"""`a=b,c!=d`; a backslash escapes a comma, an equals sign or itself in a value. Raises ApiError 400."""
    return tuple(_field_term(term, text) for term in re.findall(r"(?:\\.|[^,\\]|\\$)+", text, flags=re.DOTALL))


def _field_term(term: str, text: str) -> FieldTerm:
    found = re.match(r"((?:\\.|[^=!\\]|!(?!=))*)(!=|==|=)(.*)", term, flags=re.DOTALL)
    if found is None:
        raise _refuse(f"invalid selector: '{text}'; can't understand '{term}'")
    field, operator, value = found.groups()
    if re.fullmatch(r"(?:\\[\\,=]|[^\\,=])*", value) is None:
        raise _refuse(f"invalid field selector: invalid value: '{value}'")
    return FieldTerm(field=field, value=re.sub(r"\\(.)", r"\1", value), negated=operator == "!=")
