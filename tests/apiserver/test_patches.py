"""JSON patch (examples of RFC 6902, appendix A) and JSON merge patch (RFC 7386, appendix A)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fairway.apiserver.patches import PatchError, apply_operations, equal, merge

# The test cases of RFC 7386, appendix A: original, patch, result.
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "result"), MERGES)
def test_merge_patch_gives_the_results_of_the_rfc(document, patch, result):
    before = copy.deepcopy((document, patch))
    assert merge(document, patch) == result
    assert (document, patch) == before


def op(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, **more}


# RFC 6902, appendix A, by section: document, operations, result (None: it is an error).
OPERATIONS: list[tuple[str, Any, list[Any], Any]] = [
    ("A.1", {"foo": "bar"}, [op("add", "/baz", value="qux")], {"baz": "qux", "foo": "bar"}),
    ("A.2", {"foo": ["bar", "baz"]}, [op("add", "/foo/1", value="qux")], {"foo": ["bar", "qux", "baz"]}),
    ("A.3", {"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
    ("A.4", {"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
    ("A.5", {"baz": "qux"}, [op("replace", "/baz", value="boo")], {"baz": "boo"}),
    (
        "A.6",
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [op("move", "/qux/thud", **{"from": "/foo/waldo"})],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        "A.7",
        {"foo": ["all", "grass", "cows", "eat"]},
        [op("move", "/foo/3", **{"from": "/foo/1"})],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        "A.8",
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [op("test", "/baz", value="qux"), op("test", "/foo/1", value=2)],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ("A.9", {"baz": "qux"}, [op("test", "/baz", value="bar")], None),
    ("A.10", {"foo": "bar"}, [op("add", "/child", value={"grand": {}})], {"foo": "bar", "child": {"grand": {}}}),
    ("A.11", {"foo": "bar"}, [op("add", "/baz", value="qux", xyz=123)], {"foo": "bar", "baz": "qux"}),
    ("A.12", {"foo": "bar"}, [op("add", "/baz/bat", value="qux")], None),
    ("A.14", {"/": 9, "~1": 10}, [op("test", "/~01", value=10)], {"/": 9, "~1": 10}),
    ("A.15", {"~1": 10}, [op("test", "/~01", value="10")], None),
    ("A.16", {"foo": ["bar"]}, [op("add", "/foo/-", value=["abc"])], {"foo": ["bar", ["abc"]]}),
    ("whole document", {"foo": 1}, [op("replace", "", value={"bar": 2})], {"bar": 2}),
    (
        "copy",
        {"a": {"b": 1}},
        [op("copy", "/c", **{"from": "/a"}), op("add", "/c/d", value=2)],
        {"a": {"b": 1}, "c": {"b": 1, "d": 2}},
    ),
    ("absent equals null", {}, [op("test", "/none", value=None)], {}),
    ("replace what is absent", {}, [op("replace", "/none", value=1)], None),
    ("remove what is absent", {}, [op("remove", "/none")], None),
    ("index beyond the end", {"a": [1]}, [op("add", "/a/2", value=1)], None),
    ("index with a leading zero", {"a": [1, 2]}, [op("remove", "/a/01")], None),
    ("move into itself", {"a": {"b": 1}}, [op("move", "/a/b/c", **{"from": "/a/b"})], None),
    ("unknown operation", {}, [op("merge", "/a", value=1)], None),
    ("no path", {}, [{"op": "add", "value": 1}], None),
    ("no value", {}, [op("add", "/a")], None),
    ("no pointer", {"a": 1}, [op("remove", "a")], None),
    ("no operation", {}, ["add"], None),
    ("true is not 1", {"a": 1}, [op("test", "/a", value=True)], None),
]


@pytest.mark.parametrize(
    ("document", "operations", "result"), [row[1:] for row in OPERATIONS], ids=[row[0] for row in OPERATIONS]
)
def test_json_patch_gives_the_results_of_the_rfc(document, operations, result):
    before = copy.deepcopy((document, operations))
    if result is None:
        with pytest.raises(PatchError):
            apply_operations(document, operations)
    else:
        assert apply_operations(document, operations) == result
    assert (document, operations) == before, "nothing given is changed"


def test_a_failed_operation_undoes_those_before_it():
    document = {"a": 1}
    with pytest.raises(PatchError):
        apply_operations(document, [op("add", "/b", value=2), op("test", "/a", value=9)])
    assert document == {"a": 1}


def test_equality_is_that_of_json():
    assert equal({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]})
    assert equal(1, 1.0)
    assert not equal(True, 1)
    assert not equal([1], [1, 2])
    assert not equal({"a": 1}, {"b": 1})
