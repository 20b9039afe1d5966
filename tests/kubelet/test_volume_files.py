"""What files a volume has, and what is said of one that cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kubelet.volume import SourceKind, TokenSource, parse_volumes
from fairway.kubelet.volume_files import File, MountError, Place, places, volume_files
from tests.kubelet.objects import container, pod_object, pod_spec

SOURCES = {
    (SourceKind.CONFIG_MAP, "c"): {"a": b"of a", "b": b"\xff"},
    (SourceKind.SECRET, "s"): {"a": b"secret"},
}
TOKEN = TokenSource(path="token", expiration_s=3607)


def files(**volume: Any) -> dict[str, File]:
    pod = pod_object("web")
    pod["metadata"] |= {"labels": {"b": "2", "a": 'of "a"'}}
    (parsed,) = parse_volumes({"volumes": [{"name": "v", **volume}]})
    return volume_files(
        parsed, pod, sources=SOURCES, tokens={TOKEN: "signed"}, addresses=["172.18.0.5"], allocatable={"memory": "2Gi"}
    )


def test_all_keys_become_files_with_the_volumes_mode() -> None:
    assert files(configMap={"name": "c", "defaultMode": 0o600}) == {
        "a": File(b"of a", 0o600),
        "b": File(b"\xff", 0o600),
    }


def test_items_choose_keys_and_name_their_files() -> None:
    items = [{"key": "a", "path": "x/y", "mode": 0o400}, {"key": "b", "path": "z"}]
    assert files(configMap={"name": "c", "items": items}) == {"x/y": File(b"of a", 0o400), "z": File(b"\xff", 0o644)}


def test_what_is_optional_may_be_missing() -> None:
    assert files(configMap={"name": "none", "optional": True}) == {}
    missing = {"key": "none", "path": "p"}
    assert files(secret={"secretName": "s", "optional": True, "items": [missing]}) == {}


def test_labels_are_lines_and_other_fields_their_text() -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "one", "fieldRef": {"fieldPath": "metadata.labels['b']"}},
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        {"path": "none", "fieldRef": {"fieldPath": "metadata.annotations"}},
    ]
    assert files(downwardAPI={"items": items}) == {
        "labels": File(b'a="of \\"a\\""\nb="2"', 0o644),
        "one": File(b"2", 0o644),
        "name": File(b"web", 0o400),
        "none": File(b"", 0o644),
    }


def test_resources_of_a_container_are_numbers() -> None:
    def item(path: str, resource: str, divisor: str = "0") -> dict[str, Any]:
        return {"path": path, "resourceFieldRef": {"containerName": "web", "resource": resource, "divisor": divisor}}

    items = [item("cpu", "requests.cpu"), item("memory", "limits.memory", "1Mi")]
    assert files(downwardAPI={"items": items}) == {"cpu": File(b"0", 0o644), "memory": File(b"2048", 0o644)}


def test_a_projected_volume_joins_its_sources_and_the_later_one_wins() -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "c"}},
        {"secret": {"name": "s"}},
    ]
    assert files(projected={"sources": sources, "defaultMode": 0o440}) == {
        "token": File(b"signed", 0o440),
        "a": File(b"secret", 0o440),
        "b": File(b"\xff", 0o440),
    }


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "c", "items": [{"key": "z", "path": "p"}]}},
            "configmap references non-existent config key: z",
        ),
        (
            {"secret": {"secretName": "s", "items": [{"key": "z", "path": "p"}]}},
            "references non-existent secret key: z",
        ),
        (
            {"projected": {"sources": [{"configMap": {"name": "none"}}, {"secret": {"name": "none"}}]}},
            '[configmap "none" not found, secret "none" not found]',
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "x/../../y"}]}},
            "invalid path 'x/../../y': it leads out of the volume",
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "/etc/passwd"}]}},
            "invalid path '/etc/passwd': it leads out of the volume",
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "..data"}]}},
            "invalid path '..data': it leads out of the volume",
        ),
    ],
)
def test_what_is_not_there_is_said_in_the_kubelets_words(volume: dict[str, Any], said: str) -> None:
    with pytest.raises(MountError) as error:
        files(**volume)
    assert str(error.value) == said


def settled(*mounts: dict[str, Any], **environment: str) -> list[Place]:
    volumes = [{"name": "empty"}, {"name": "config", "configMap": {"name": "c"}}]
    pod = pod_spec(container(volumeMounts=list(mounts)), volumes=volumes)
    return places(pod.containers[0], pod, environment)


def test_what_the_kubelet_writes_is_mounted_read_only() -> None:
    mounts = [
        {"name": "empty", "mountPath": "/a", "subPath": "x/y/"},
        {"name": "empty", "mountPath": "relative", "readOnly": True},
        {"name": "config", "mountPath": "/c"},
        {"name": "empty", "mountPath": "/d", "subPathExpr": "$(POD)/logs"},
    ]
    assert settled(*mounts, POD="web") == [
        Place(source="empty/x/y", target="/a", read_only=False),
        Place(source="empty", target="/relative", read_only=True),
        Place(source="config", target="/c", read_only=True),
        Place(source="empty/web/logs", target="/d", read_only=False),
    ]


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"subPath": "../other"}, '"../other" leads out of it'),
        ({"subPath": "/etc"}, '"/etc" leads out of it'),
        ({"subPathExpr": "$(UP)/x"}, '"../x" leads out of it'),
        ({"subPathExpr": "$(NONE)"}, 'missing value in "$(NONE)"'),
    ],
)
def test_a_part_that_leads_out_of_its_volume_is_refused(part: dict[str, str], why: str) -> None:
    with pytest.raises(MountError) as error:
        settled({"name": "empty", "mountPath": "/a", **part}, UP="..")
    assert str(error.value) == f'failed to prepare subPath for volumeMount "empty": {why}'
