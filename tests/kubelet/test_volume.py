"""Volumes and mounts as a pod's object gives them."""

from __future__ import annotations

import pytest

from fairway.api.types import Object
from fairway.kubelet.resource_fields import ResourceField
from fairway.kubelet.volume import (
    FieldSource,
    Item,
    SourceKind,
    TokenSource,
    ValuesSource,
    Volume,
    VolumeMount,
    parse_mounts,
    parse_volumes,
)

LABELS = {"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ({}, Volume(name="v")),
        ({"emptyDir": {}}, Volume(name="v")),
        (
            {"configMap": {"name": "c", "defaultMode": 0o400}},
            Volume(name="v", sources=(ValuesSource(kind=SourceKind.CONFIG_MAP, name="c"),), mode=0o400),
        ),
        (
            {"secret": {"secretName": "s", "optional": True, "items": [{"key": "k", "path": "p/q", "mode": 0}]}},
            Volume(
                name="v",
                sources=(
                    ValuesSource(
                        kind=SourceKind.SECRET,
                        name="s",
                        items=(Item(key="k", path="p/q", mode=0),),
                        optional=True,
                    ),
                ),
            ),
        ),
        (
            {"downwardAPI": {"items": [LABELS]}},
            Volume(name="v", sources=(FieldSource(field_path="metadata.labels", path="l"),)),
        ),
        (
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "t", "expirationSeconds": 3607}},
                        {"configMap": {"name": "c"}},
                        {"secret": {"name": "s"}},
                        {"downwardAPI": {"items": [LABELS]}},
                    ]
                }
            },
            Volume(
                name="v",
                sources=(
                    TokenSource(path="t", expiration_s=3607),
                    ValuesSource(kind=SourceKind.CONFIG_MAP, name="c"),
                    ValuesSource(kind=SourceKind.SECRET, name="s"),
                    FieldSource(field_path="metadata.labels", path="l"),
                ),
            ),
        ),
        (
            {"downwardAPI": {"items": [{"path": "m", "resourceFieldRef": {"resource": "limits.memory"}}]}},
            Volume(name="v", sources=(FieldSource(path="m", resource=ResourceField(resource="limits.memory")),)),
        ),
        ({"projected": {}}, Volume(name="v", sources=())),
    ],
)
def test_a_volume_is_read_with_the_apis_defaults(given: Object, parsed: Volume) -> None:
    assert parse_volumes({"volumes": [{"name": "v", **given}]}) == (parsed,)


def test_a_volume_of_a_kind_the_lab_has_not_is_left_to_whoever_names_it() -> None:
    assert parse_volumes({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}) == ()


def test_mounts_are_read() -> None:
    mounts = [
        {"name": "v", "mountPath": "/a", "readOnly": True, "subPath": "s"},
        {"name": "w", "mountPath": "/b", "subPathExpr": "$(NAME)"},
    ]

    assert parse_mounts({"volumeMounts": mounts}) == (
        VolumeMount(volume="v", path="/a", read_only=True, sub_path="s"),
        VolumeMount(volume="w", path="/b", sub_path_expr="$(NAME)"),
    )
