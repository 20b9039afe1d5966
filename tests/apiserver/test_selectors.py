"""Label and field selectors: grammar, messages, what they select."""

from __future__ import annotations

import pytest

from fairway.api.status import ApiError
from fairway.api.types import Key
from fairway.apiserver.selectors import FieldTerm, Operator, Requirement, Selection, parse_fields, parse_labels

NO_INTEGER = (
    'unable to parse requirement: values[0]: Invalid value: "b": '
    "for 'Gt', 'Lt' operators, the value must be an integer"
)


def req(key: str, operator: Operator, *values: str) -> Requirement:
    return Requirement(key=key, operator=operator, values=frozenset(values))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("  ", []),
        ("x", [req("x", Operator.EXISTS)]),
        ("!x", [req("x", Operator.DOES_NOT_EXIST)]),
        ("x=1", [req("x", Operator.IN, "1")]),
        ("x==1", [req("x", Operator.IN, "1")]),
        ("x!=1", [req("x", Operator.NOT_IN, "1")]),
        ("x=", [req("x", Operator.IN, "")]),
        ("x=,y", [req("x", Operator.IN, ""), req("y", Operator.EXISTS)]),
        ("x in (1,2),y", [req("x", Operator.IN, "1", "2"), req("y", Operator.EXISTS)]),
        ("x notin ( 1 , 2 )", [req("x", Operator.NOT_IN, "1", "2")]),
        ("x in ()", [req("x", Operator.IN, "")]),
        ("x in (,)", [req("x", Operator.IN, "")]),
        ("x in (a,)", [req("x", Operator.IN, "a", "")]),
        ("x in (a,,b)", [req("x", Operator.IN, "a", "", "b")]),
        ("x>1,y<2", [req("x", Operator.GREATER_THAN, "1"), req("y", Operator.LESS_THAN, "2")]),
        ("in=in", [req("in", Operator.IN, "in")]),
        ("in in (in)", [req("in", Operator.IN, "in")]),
        ("app.kubernetes.io/name=web", [req("app.kubernetes.io/name", Operator.IN, "web")]),
    ],
)
def test_labels_are_parsed(text, wanted):
    assert list(parse_labels(text)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=(b)", "unable to parse requirement: found '(', expected: identifier"),
        ("a>b", NO_INTEGER),
    ],
)
def test_labels_that_cannot_be_parsed_are_refused_in_the_real_words(text, message):
    with pytest.raises(ApiError) as caught:
        parse_labels(text)
    assert (caught.value.code, caught.value.reason, caught.value.message) == (400, "BadRequest", message)


@pytest.mark.parametrize("text", ["_x", "a_b/c", "x=" + "v" * 64, "x=-", "k" * 64, "a/b/c", "/x"])
def test_keys_and_values_that_no_label_can_have_are_refused(text):
    with pytest.raises(ApiError, match="Invalid value"):
        parse_labels(text)


LABELLED = {"a": {"x": "1", "y": "a"}, "b": {"x": "2"}, "c": {}, "n": {"x": "10"}}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", "abcn"),
        ("x", "abn"),
        ("!x", "c"),
        ("x=1", "a"),
        ("x!=1", "bcn"),
        ("x in (1,2),y", "a"),
        ("x notin (1)", "bcn"),
        ("x>1", "bn"),
        ("x<3", "ab"),
        ("y>1", ""),
    ],
)
def test_labels_select(text, selected):
    requirements = parse_labels(text)
    found = [name for name, labels in LABELLED.items() if all(one.matches(labels) for one in requirements)]
    assert "".join(found) == selected


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("a=b", [FieldTerm(field="a", value="b")]),
        ("a==b", [FieldTerm(field="a", value="b")]),
        ("a!=b,c=d", [FieldTerm(field="a", value="b", negated=True), FieldTerm(field="c", value="d")]),
        ("a=", [FieldTerm(field="a", value="")]),
        (",a=b,", [FieldTerm(field="a", value="b")]),
        (r"a=b\,c\=d\\e", [FieldTerm(field="a", value=r"b,c=d\e")]),
        (
            "involvedObject.uid=1-2,x=y",
            [FieldTerm(field="involvedObject.uid", value="1-2"), FieldTerm(field="x", value="y")],
        ),
    ],
)
def test_fields_are_parsed(text, wanted):
    assert list(parse_fields(text)) == wanted


@pytest.mark.parametrize("text", ["a", "a,b=c"])
def test_fields_that_cannot_be_parsed_are_refused(text):
    with pytest.raises(ApiError) as caught:
        parse_fields(text)
    assert caught.value.message == f"invalid selector: '{text}'; can't understand 'a'"


def test_a_selection_asks_for_namespace_labels_and_fields_together():
    def obj(name: str, **labels: str) -> dict[str, object]:
        return {"metadata": {"name": name, "namespace": "ns", "labels": labels}}

    selection = Selection(
        fields_of=lambda one: {"metadata.name": one["metadata"]["name"]},
        namespace="ns",
        labels=parse_labels("x=1"),
        fields=parse_fields("metadata.name!=b"),
    )
    assert selection.matches(Key("ns", "a"), obj("a", x="1"))
    assert not selection.matches(Key("ns", "a"), obj("a", x="2"))
    assert not selection.matches(Key("ns", "b"), obj("b", x="1"))
    assert not selection.matches(Key("other", "a"), obj("a", x="1"))
    assert selection.exact_name is None
    assert Selection(fields_of=lambda one: {}, fields=parse_fields("metadata.name=z")).exact_name == "z"
