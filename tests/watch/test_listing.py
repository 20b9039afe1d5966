"""A list is decoded item by item."""

from __future__ import annotations

import pytest

from fairway.api.resources import SERVICES
from fairway.base.errors import Retry
from fairway.watch.listing import parse_list


def of(items: str) -> bytes:
    return f'{{"metadata":{{"resourceVersion":"7"}},"items":{items}}}'.encode()


def test_items_are_objects_each_time_they_are_asked_for() -> None:
    answer = parse_list(of('[{"metadata":{"name":"a"},"spec":{"x":1}},{"metadata":{"name":"b"}}]'), SERVICES)
    items = answer["items"]
    assert (answer["metadata"], len(items)) == ({"resourceVersion": "7"}, 2)
    once, again = [*items], [*items]
    assert (
        once
        == again
        == [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"x": 1}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}},
        ]
    )
    assert once[0] is not again[0], "nothing is kept of what was decoded"


@pytest.mark.parametrize("items", ["[]", "null"])
def test_a_list_may_hold_nothing(items: str) -> None:
    assert not parse_list(of(items), SERVICES)["items"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the list of services is no List"),
        (b"[]", "the list of services is no List"),
        (of("[{]"), "the list of services is no List"),
        (of("{}"), "the list of services is no List"),
        (b'{"metadata":null,"items":[]}', "the list of services is no List"),
        (b'{"items":[]}', "the list of services has no resourceVersion"),
        (of("[7]"), "the list of services holds an item without a name"),
        (of('[{"metadata":{"name":7}}]'), "the list of services holds an item without a name"),
        (of('[{"metadata":{"name":"a"}},{"metadata":null}]'), "the list of services holds an item without a name"),
    ],
)
def test_what_is_no_list_is_worth_another_try(text: bytes, message: str) -> None:
    with pytest.raises(Retry) as caught:
        parse_list(text, SERVICES)
    assert str(caught.value) == message
