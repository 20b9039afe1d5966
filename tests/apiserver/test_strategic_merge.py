"""Strategic merge patches, by the cases the real implementation documents (apimachinery `util/strategicpatch`)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fairway.apiserver.schema.model import ListType, PatchRule, Shape
from fairway.apiserver.strategic_merge import StrategicMergeError, strategic_merge


def rule(element: str, shape: Shape = Shape.ONE, *, merge: bool = False, key: str = "") -> PatchRule:
    return PatchRule(
        element=element,
        shape=shape,
        merge=merge,
        merge_key=key,
        retain_keys=False,
        list_type=ListType.NONE,
        map_keys=(),
    )


RULES = {
    ("Item", "name"): rule("string"),
    ("Item", "value"): rule("string"),
    ("Item", "simpleMap"): rule("string", Shape.MAP),
    ("Item", "mergingList"): rule("Item", Shape.LIST, merge=True, key="name"),
    ("Item", "nonMergingList"): rule("Item", Shape.LIST),
    ("Item", "mergingIntList"): rule("int32", Shape.LIST, merge=True),
    ("Item", "nonMergingIntList"): rule("int32", Shape.LIST),
    ("Item", "keylessList"): rule("Item", Shape.LIST, merge=True),
    ("Item", "item"): rule("Item"),
    ("Item", "items"): rule("Item", Shape.MAP),
}


def patch(document: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    before = copy.deepcopy((document, change))
    result = strategic_merge(document, change, "Item", lambda owner, field: RULES.get((owner, field)))
    assert (document, change) == before, "nothing given is changed"
    return result


def named(*names: str) -> list[dict[str, Any]]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("document", "change", "result"),
    [
        pytest.param({"name": "1", "value": "1"}, {"value": "2"}, {"name": "1", "value": "2"}, id="scalar"),
        pytest.param({"name": "1", "value": "1"}, {"value": None}, {"name": "1"}, id="null removes"),
        pytest.param({"name": "1"}, {"value": None}, {"name": "1"}, id="null of nothing is ignored"),
        pytest.param(
            {"simpleMap": {"a": 1, "b": 2}},
            {"simpleMap": {"b": None, "c": 3}},
            {"simpleMap": {"a": 1, "c": 3}},
            id="map",
        ),
        pytest.param(
            {"simpleMap": {"a": 1}},
            {"simpleMap": {"$patch": "replace", "b": 2}},
            {"simpleMap": {"b": 2}},
            id="replace a map",
        ),
        pytest.param(
            {"name": "1", "item": {"name": "2", "value": "3"}},
            {"item": {"$patch": "replace", "name": "4"}},
            {"name": "1", "item": {"name": "4"}},
            id="replace an object",
        ),
        pytest.param(
            {"name": "1", "item": {"name": "2"}},
            {"item": {"$patch": "delete"}},
            {"name": "1", "item": {}},
            id="empty an object",
        ),
        pytest.param(
            {}, {"item": {"name": "1", "value": None}}, {"item": {"name": "1"}}, id="nulls of new objects are dropped"
        ),
        pytest.param(
            {"items": {"a": {"name": "1", "value": "1"}}},
            {"items": {"a": {"value": "2"}, "b": {"name": "3"}}},
            {"items": {"a": {"name": "1", "value": "2"}, "b": {"name": "3"}}},
            id="objects of a map",
        ),
        pytest.param(
            {"nonMergingList": named("1", "2")},
            {"nonMergingList": named("3")},
            {"nonMergingList": named("3")},
            id="list that is replaced",
        ),
        pytest.param(
            {"mergingList": [{"name": "1", "value": "a"}]},
            {"mergingList": [{"name": "1", "value": "b"}]},
            {"mergingList": [{"name": "1", "value": "b"}]},
            id="element that is merged",
        ),
        pytest.param(
            {"mergingList": named("1", "2")},
            {"mergingList": named("3")},
            {"mergingList": named("3", "1", "2")},
            id="a new element goes first",
        ),
        pytest.param(
            {"mergingList": named("1", "2", "3")},
            {"mergingList": [{"name": "2", "$patch": "delete"}]},
            {"mergingList": named("1", "3")},
            id="delete an element",
        ),
        pytest.param(
            {"mergingList": named("1")},
            {"mergingList": [{"name": "7", "$patch": "delete"}]},
            {"mergingList": named("1")},
            id="delete an absent element",
        ),
        pytest.param(
            {"mergingList": named("1", "2")},
            {"mergingList": [{"$patch": "replace"}, {"name": "3"}]},
            {"mergingList": named("3")},
            id="replace a list",
        ),
        pytest.param(
            {"mergingList": named("1")},
            {"mergingList": [{"$patch": "replace"}]},
            {"mergingList": []},
            id="empty a list",
        ),
        pytest.param(
            {},
            {"mergingList": [{"name": "1"}, {"name": "2", "$patch": "delete"}]},
            {"mergingList": named("1")},
            id="directives of a new list are dropped",
        ),
        pytest.param(
            {"mergingIntList": [1, 2]},
            {"mergingIntList": [2, 3]},
            {"mergingIntList": [1, 2, 3]},
            id="scalars are a set",
        ),
        pytest.param(
            {"nonMergingIntList": [1, 2]},
            {"nonMergingIntList": [3]},
            {"nonMergingIntList": [3]},
            id="scalars that are replaced",
        ),
        pytest.param(
            {"mergingIntList": [1, 2, 3]},
            {"$deleteFromPrimitiveList/mergingIntList": [2, 9]},
            {"mergingIntList": [1, 3]},
            id="delete scalars",
        ),
        pytest.param(
            {"mergingList": [{"name": "1", "mergingList": named("a", "b")}]},
            {"mergingList": [{"name": "1", "mergingList": [{"name": "a", "$patch": "delete"}]}]},
            {"mergingList": [{"name": "1", "mergingList": named("b")}]},
            id="lists within lists",
        ),
        pytest.param(
            {"item": {"name": "1", "value": "2"}},
            {"item": {"$retainKeys": ["value"], "value": "3"}},
            {"item": {"value": "3"}},
            id="retain keys",
        ),
        pytest.param(
            {"unknown": {"a": 1}},
            {"unknown": {"b": 2}},
            {"unknown": {"a": 1, "b": 2}},
            id="unknown objects are merged plainly",
        ),
        pytest.param({"value": "1"}, {"$patch": "replace", "name": "2"}, {"name": "2"}, id="replace the whole"),
    ],
)
def test_a_patch_gives_the_result_of_the_real_one(document, change, result):
    assert patch(document, change) == result


def order(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("before", "wanted", "change", "after"),
    [
        pytest.param("123", "321", "", "321", id="turned round"),
        pytest.param("123", "31", "", "2 3 1", id="what the patch does not know keeps its place between"),
        pytest.param("123", "1 2 3 4", "4", "1234", id="a new element at the end"),
        pytest.param("12", "0 1 2", "0", "012", id="a new element at the front"),
        pytest.param("1 s 2", "2 1", "", "s 2 1", id="the server's own element stays before its neighbour"),
        pytest.param("s 1 2", "1 2", "", "s 1 2", id="the server's own element stays in front"),
        pytest.param("", "1 2", "2 1", "1 2", id="a list that was not there"),
    ],
)
def test_set_element_order_arranges_the_list(before, wanted, change, after):
    def split(text: str) -> list[str]:
        return text.split() if " " in text else list(text)

    document = {"mergingList": named(*split(before))} if before else {}
    body: dict[str, Any] = {"$setElementOrder/mergingList": order(*split(wanted))}
    if change:
        body["mergingList"] = named(*split(change))
    assert [one["name"] for one in patch(document, body)["mergingList"]] == split(after)


def test_set_element_order_of_scalars():
    change = {"$setElementOrder/mergingIntList": [3, 1], "mergingIntList": [3]}
    assert patch({"mergingIntList": [1, 2]}, change) == {"mergingIntList": [3, 1, 2]}


def test_an_order_with_deletions_of_scalars_as_kubectl_apply_sends_it():
    change = {
        "$setElementOrder/mergingIntList": [1, 3],
        "$deleteFromPrimitiveList/mergingIntList": [2],
        "mergingIntList": [3],
    }
    assert patch({"mergingIntList": [1, 2]}, change) == {"mergingIntList": [1, 3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"$patch": "frobnicate"}, "unknown patch type: frobnicate"),
        ({"mergingList": [{"value": "1"}]}, "map: {'value': '1'} does not contain declared merge key: name"),
        ({"mergingList": [{"$patch": "delete", "value": "1"}]}, "does not contain declared merge key: name"),
        ({"mergingList": [{"$patch": "merge"}]}, "merging lists cannot yet be specified in the patch"),
        ({"mergingList": [1]}, "list element types are not identical"),
        ({"mergingList": [{"name": {"a": 1}}]}, "merge keys that are no scalars"),
        ({"keylessList": [{"name": "1"}]}, "cannot merge lists without merge key for Item"),
        ({"mergingIntList": [[1]]}, "lists of lists"),
        ({"item": {"$retainKeys": ["name"], "value": "1"}}, "invalid patch format of retainKeys"),
        ({"$setElementOrder/mergingList": "x"}, "expected a list for $setElementOrder/mergingList"),
        (
            {"$setElementOrder/mergingList": order("1"), "mergingList": named("2")},
            "doesn't match $setElementOrder list",
        ),
        ({"$deleteFromPrimitiveList/mergingIntList": 1}, "invalid patch format of primitive list"),
    ],
)
def test_a_malformed_patch_is_refused(change, message):
    document = {
        "mergingList": named("1"),
        "keylessList": named("1"),
        "mergingIntList": [1],
        "item": {"name": "1"},
    }
    with pytest.raises(StrategicMergeError) as caught:
        patch(document, change)
    assert message in str(caught.value)
