"""Files of objects: what kubectl accepts is accepted, everything else is refused in one line that says where."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.api.manifest import parse_objects
from fairway.api.types import Object
from fairway.base.errors import Refused


def service(name: str, **metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default", **metadata}}


ONE_YAML = "apiVersion: v1\nkind: Service\nmetadata: {name: one}\n"
ONE_JSON = json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "one"}})
LIST_OF_LISTS = f"""
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: List
  items: [{ONE_JSON}]
"""


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("", []),
        ("---\n---\n# nothing\n", []),
        (ONE_YAML, [service("one")]),
        (ONE_JSON, [service("one")]),
        (f"\n  {ONE_JSON}\n\n", [service("one")]),
        ("\N{ZERO WIDTH NO-BREAK SPACE}" + ONE_JSON, [service("one")]),
        (f"{ONE_YAML}---\n\n---\n{ONE_YAML}", [service("one"), service("one")]),
        (ONE_JSON + ONE_JSON, [service("one"), service("one")]),
        (f"{ONE_JSON}\n---\n{ONE_JSON}", [service("one"), service("one")]),
        ("{apiVersion: v1, kind: Service, metadata: {name: one}}", [service("one")]),
        (f'{{"apiVersion": "v1", "kind": "List", "items": [{ONE_JSON}]}}', [service("one")]),
        ("apiVersion: v1\nkind: List\nitems: null\n", []),
        ("apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: one}\n", [service("one")]),
        (LIST_OF_LISTS, [service("one")]),
    ],
)
def test_json_and_yaml_lists_and_documents_are_read(text, objects):
    assert parse_objects(text, source="f") == objects


def test_only_namespaced_kinds_get_the_default_namespace():
    text = """
apiVersion: v1
kind: Node
metadata: {name: worker}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: unknown}
"""
    assert parse_objects(text, source="f") == [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"}},
        service("web", namespace="shop"),
        {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "unknown"}},
    ]


def test_yaml_values_are_those_json_has():
    text = """
apiVersion: v1
kind: Service
metadata:
  name: one
  creationTimestamp: 2024-01-01T00:00:00Z
  labels: {time: 12:30:45, day: 2024-01-01, mode: "0644", equal: =, 1: one, true: yes}
data: {octal: 0644, hex: 0x1F, grouped: 1_000, float: 1e3, minus: -.5, empty: ~, not: .nan}
"""
    (obj,) = parse_objects(text, source="f")
    assert obj["metadata"]["creationTimestamp"] == "2024-01-01T00:00:00Z"
    assert obj["metadata"]["labels"] == {
        "time": "12:30:45",
        "day": "2024-01-01",
        "mode": "0644",
        "equal": "=",
        "1": "one",
        "true": True,
    }
    assert obj["data"] == {
        "octal": 420,
        "hex": 31,
        "grouped": 1000,
        "float": 1000.0,
        "minus": -0.5,
        "empty": None,
        "not": ".nan",
    }


def test_merge_keys_and_aliases_of_yaml_are_resolved():
    text = "base: &base {apiVersion: v1, kind: Service}\n---\n"
    with pytest.raises(Refused, match="no apiVersion"):
        parse_objects(text, source="f")
    merged = "apiVersion: v1\nkind: Service\nmetadata: &m {name: one}\nspec: {<<: *m, port: 1}\n"
    assert parse_objects(merged, source="f") == [{**service("one"), "spec": {"name": "one", "port": 1}}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "f: line 2, column 1: did not find expected node content"),
        ("\tx", "f: line 1, column 1: found character that cannot start any token"),
        ("a: *b", "f: line 1, column 4: found undefined alias"),
        ("a: 1\na: 2", "f: line 2, column 1: the key 'a' stands twice in one mapping"),
        ("? [1]\n: 2", "f: line 1, column 3: a key must be a text"),
        ("~: 2", "f: line 1, column 1: a key must be a text"),
        ("a: !!binary aGk=", "f: line 1, column 4: a value of type binary has no form in JSON"),
        ("a: !!set {b}", "f: line 1, column 4: a value of type set has no form in JSON"),
        ("a: !thing b", "f: line 1, column 4: could not determine a constructor for the tag '!thing'"),
        ("a: &a [*a]", "f: an alias stands inside what it stands for"),
        ('{"a": ', "f: line 1, column 7: Expecting value"),
        ('{"a": 1, "a": 2}', "f: the key 'a' stands twice in one object"),
        ('{"a": NaN}', "f: NaN is no number of JSON"),
        ("[" * 10_000, "f: it is nested too deeply"),
        ("a: " + "[" * 10_000, "f: it is nested too deeply"),
        ("[1]", "f: line 1, column 1: expected an object, got a list"),
        ("# a comment\n\n  - 1", "f: line 3, column 3: expected an object, got a list"),
        (
            '{"kind": "X"}\n\n [2]',
            "f: line 1, column 1: the object without a name has no apiVersion; every object needs one",
        ),
        (
            '\n {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}}\n [2]',
            "f: line 3, column 2: expected an object, got a list",
        ),
        ("web", "f: line 1, column 1: expected an object, got a text"),
        ("---\n---\n7", "f: line 3, column 1: expected an object, got a number"),
        ("kind: Service", "f: line 1, column 1: the object without a name has no apiVersion; every object needs one"),
        (
            "apiVersion: v1\nmetadata: {name: web}",
            "f: line 1, column 1: the object web has no kind; every object needs one",
        ),
        (
            "apiVersion: 1\nkind: Service\nmetadata: {name: web}",
            "f: line 1, column 1: the object web has no apiVersion; every object needs one",
        ),
        (
            "apiVersion: v1\nkind: Service",
            "f: line 1, column 1: the Service has no metadata, so no name; give it metadata.name",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: 7}",
            "f: line 1, column 1: the Service has no name; give it metadata.name, a text",
        ),
        ("apiVersion: v1\nkind: List\nitems: {}", "f: line 1, column 1: items: expected a list, got an object"),
        (
            "apiVersion: v1\nkind: List\nitems: [7]",
            "f: line 1, column 1: items[0]: expected an object, got a number",
        ),
    ],
)
def test_what_is_no_object_is_refused_with_its_place(text, message):
    with pytest.raises(Refused) as refusal:
        parse_objects(text, source="f")
    assert str(refusal.value) == message


def test_aliases_that_stand_for_billions_of_values_are_refused():
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(Refused, match=r"^f: its aliases stand for more than 5000000 values; write them out$"):
        parse_objects("\n".join(lines), source="f")


@given(st.text(alphabet=st.sampled_from("{}[]:,-&*!|>'\"%@#? \n\tabk01~.") | st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_objects_or_one_line_of_refusal(text: str):
    answer = answer_to(text)
    assert isinstance(answer, list) or (answer.startswith("f: ") and "\n" not in answer)


def answer_to(text: str) -> list[Object] | str:
    try:
        return parse_objects(text, source="f")
    except Refused as refusal:
        return str(refusal)
