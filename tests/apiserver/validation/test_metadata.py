from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import NODES, PODS
from fairway.apiserver.validation import names
from fairway.apiserver.validation.metadata import validate_metadata, validate_metadata_update

GOOD = {"name": "a", "namespace": "default"}


def found(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    causes = validate_metadata({**GOOD, **metadata}, PODS, names.dns_subdomain)
    return [(cause.field, cause.message) for cause in causes]


def test_good_metadata_is_valid() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": True}
    assert found({"labels": {"a": "b"}, "finalizers": ["x.io/y"], "ownerReferences": [owner]}) == []


def test_a_name_and_a_namespace_are_needed() -> None:
    assert found({"name": "", "namespace": ""}) == [
        ("metadata.name", "Required value: name or generateName is required"),
        ("metadata.namespace", "Required value"),
    ]


def test_a_generated_name_is_checked_with_its_prefix() -> None:
    assert found({"name": "x-abcde", "generateName": "x-"}) == []
    assert [field for field, _ in found({"name": "X-a", "generateName": "XX-"})] == [
        "metadata.generateName",
        "metadata.name",
    ]


def test_a_cluster_scoped_object_has_no_namespace() -> None:
    causes = validate_metadata(GOOD, NODES, names.dns_subdomain)
    assert [(cause.field, cause.message) for cause in causes] == [
        ("metadata.namespace", "Forbidden: not allowed on this type")
    ]


def test_labels_annotations_and_finalizers_are_checked() -> None:
    fields = [field for field, _ in found({"labels": {"a b": ""}, "annotations": {"c d": ""}, "finalizers": ["e f"]})]
    assert fields == ["metadata.labels", "metadata.annotations", "metadata.finalizers[0]"]
    assert found({"annotations": {"Upper": "x"}}) == []


def test_annotations_have_a_limit() -> None:
    assert found({"annotations": {"a": "x" * 262143}}) == []
    assert found({"annotations": {"a": "x" * 262144}}) == [
        ("metadata.annotations", "Too long: may not be more than 262144 bytes")
    ]


def test_owners_are_named_in_full_and_one_controls() -> None:
    assert [field for field, _ in found({"ownerReferences": [{"kind": "A"}]})] == [
        "metadata.ownerReferences[0].apiVersion",
        "metadata.ownerReferences[0].name",
        "metadata.ownerReferences[0].uid",
    ]
    owners = [
        {"apiVersion": "v1", "kind": "A", "name": name, "uid": name, "controller": True} for name in ("one", "two")
    ]
    [(field, message)] = found({"ownerReferences": owners})
    assert field == "metadata.ownerReferences"
    assert message.endswith('Found "true" in references for A/one and A/two')


@pytest.mark.parametrize("field", ["uid", "creationTimestamp", "deletionTimestamp"])
def test_what_the_server_set_does_not_change(field: str) -> None:
    causes = validate_metadata_update({**GOOD, field: "new"}, {**GOOD, field: "old"})
    assert [(cause.field, cause.message) for cause in causes] == [
        (f"metadata.{field}", 'Invalid value: "new": field is immutable')
    ]
