"""Volumes and mounts that no kubelet could make are refused in a real API server's words."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.resources import PODS
from tests.apiserver.kinds.support import wrong
from tests.apiserver.kinds.test_pod import C, pod

FILE = "must be a number between 0 and 0777 (octal), both inclusive"


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ({"configMap": {}}, ["configMap.name: Required value"]),
        ({"secret": {}}, ["secret.secretName: Required value"]),
        ({"secret": {"secretName": "s", "defaultMode": 512}}, [f"secret.defaultMode: Invalid value: 512: {FILE}"]),
        (
            {"configMap": {"name": "c", "items": [{"key": "", "path": "", "mode": -1}]}},
            [
                "configMap.items[0].key: Required value",
                f"configMap.items[0].mode: Invalid value: -1: {FILE}",
                "configMap.items[0].path: Required value",
            ],
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "/a/../b"}, {"key": "l", "path": "..x"}]}},
            [
                'configMap.items[0].path: Invalid value: "/a/../b": must be a relative path',
                "configMap.items[0].path: Invalid value: \"/a/../b\": must not contain '..'",
                "configMap.items[1].path: Invalid value: \"..x\": must not start with '..'",
            ],
        ),
        (
            {"downwardAPI": {"items": [{"path": "p"}, {"path": "q", "fieldRef": {"fieldPath": "spec.nodeName"}}]}},
            [
                "downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
                (
                    'downwardAPI.items[1].fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: '
                    '"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"'
                ),
            ],
        ),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.labels['a/b']"}}]}},
            [],
        ),
        (
            {"downwardAPI": {"items": [{"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}]}},
            ["downwardAPI.items[0].resourceFieldRef.containerName: Required value"],
        ),
        (
            {
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "", "expirationSeconds": 599}},
                        {"secret": {"name": "s"}, "configMap": {"name": "c"}},
                    ]
                }
            },
            [
                (
                    "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a "
                    "duration less than 10 minutes"
                ),
                "projected.sources[0].serviceAccountToken.path: Required value",
                "projected.sources[1].configMap: Forbidden: may not specify more than 1 volume type per source",
            ],
        ),
    ],
)
def test_a_volume_that_cannot_be(volume: dict[str, Any], said: list[str]) -> None:
    found = wrong(PODS, pod(volumes=[{"name": "v", **volume}]))
    assert sorted(found) == sorted(f"spec.volumes[0].{one}" for one in said)


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ({"subPath": "/a"}, ['subPath: Invalid value: "/a": must be a relative path']),
        ({"subPath": "a/../../b"}, ["subPath: Invalid value: \"a/../../b\": must not contain '..'"]),
        (
            {"subPath": "a", "subPathExpr": "b/.."},
            [
                "subPathExpr: Invalid value: \"b/..\": must not contain '..'",
                'subPathExpr: Invalid value: "b/..": subPathExpr and subPath are mutually exclusive',
            ],
        ),
    ],
)
def test_a_part_that_leads_out_of_its_volume(mount: dict[str, str], said: list[str]) -> None:
    container = {**C, "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    found = wrong(PODS, pod(container, volumes=[{"name": "v"}]))
    assert sorted(found) == [f"spec.containers[0].volumeMounts[0].{one}" for one in said]
