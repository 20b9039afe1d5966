"""Volumes of pods that run: filled before the first container, kept as the API says, waited for when they cannot be."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fairway.api.types import Object
from fairway.fabric.spawner import Mount
from fairway.kubelet import pod_volumes
from fairway.kubelet.pod import parse_pod
from fairway.kubelet.pod_volumes import Library, PodVolumes
from fairway.kubelet.volume import SourceKind
from fairway.kubelet.volume_files import MountError
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials
from tests.kubelet.conftest import TIMEOUT_S, RunNode
from tests.kubelet.objects import container, pod_object
from tests.watch.fake_api import FakeApi

CONFIG = {"name": "v", "configMap": {"name": "c"}}
TOKEN = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


def config_map(name: str = "c", **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def mounting(*volumes: Object, **fields: Any) -> Object:
    return pod_object(
        "web", container(volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=list(volumes), **fields
    )


async def test_a_pods_volumes_are_there_when_its_container_starts(run_node: RunNode) -> None:
    async with run_node() as node:
        node.api.put(config_map(a="1"))
        await node.apply(mounting(CONFIG, {"name": "empty"}))
        await node.until(lambda: node.ready("web"))

        assert (node.stores / "web/v/a").read_text() == "1"
        assert (node.stores / "web/empty").is_dir()
        assert node.spawner.processes[0].spawned["mounts"] == (
            Mount(source="v", target="/v", read_only=True, make=True),
        )


async def test_a_pod_without_volumes_has_no_store(run_node: RunNode) -> None:
    async with run_node() as node:
        await node.apply(pod_object("web"))
        await node.until(lambda: node.ready("web"))

        assert node.spawner.specs["web"].store == ""


async def test_a_pod_waits_for_a_config_map_without_a_sandbox(
    run_node: RunNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_volumes, "FIRST_RETRY_S", 0.01)
    async with run_node() as node:
        await node.apply(mounting(CONFIG))
        await node.until(lambda: len(node.events("FailedMount")) >= 1)

        assert node.events("FailedMount")[0] == 'MountVolume.SetUp failed for volume "v" : configmap "c" not found'
        assert node.spawner.specs == {}
        assert node.state("web") == {"waiting": {"reason": "ContainerCreating"}}

        node.api.put(config_map(a="1"))
        await node.until(lambda: node.ready("web"))


async def test_files_follow_their_config_map_and_the_pods_labels(
    run_node: RunNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_volumes, "SYNC_S", 0.02)
    labels = {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
    async with run_node() as node:
        node.api.put(config_map(a="1"))
        pod = mounting(CONFIG, {"name": "w", **labels})
        await node.apply(pod)
        await node.until(lambda: node.ready("web"))

        node.api.put(config_map(a="2", b="3"))
        changed = {**pod, "metadata": {**pod["metadata"], "labels": {"x": "y"}}, "status": node.status("web")}
        await node.apply(changed)

        def followed() -> bool:
            volume = node.stores / "web/v"
            told = [(volume / name).read_text() for name in ("a", "b") if (volume / name).exists()]
            return told == ["2", "3"] and (node.stores / "web/w/l").read_text() == 'x="y"'

        async with asyncio.timeout(TIMEOUT_S):
            while not followed():  # noqa: ASYNC110 - files tell nobody
                await asyncio.sleep(0)


async def test_a_part_that_leads_out_of_a_volume_starts_nothing(run_node: RunNode) -> None:
    mount = {"name": "v", "mountPath": "/v", "subPath": "../up"}
    async with run_node() as node:
        await node.apply(pod_object("web", container(volumeMounts=[mount]), volumes=[{"name": "v"}]))
        await node.until(lambda: "waiting" in node.state("web") and bool(node.events("Failed")))

        message = 'failed to prepare subPath for volumeMount "v": "../up" leads out of it'
        assert node.state("web") == {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
        assert node.spawner.processes == []


# Without a node.


def answer(body: Object, status: int = 201) -> Any:
    return lambda _: web.json_response(body, status=status)


def token_answer(text: str) -> Any:
    return answer({"kind": "TokenRequest", "spec": {"expirationSeconds": 1000}, "status": {"token": text}})


async def test_a_token_is_asked_for_the_pod_and_again_at_four_fifths_of_its_life(tmp_path: Path) -> None:
    api, now = FakeApi(), [0.0]
    obj = mounting(TOKEN, serviceAccountName="robot")
    pod = parse_pod(obj)
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        volumes = PodVolumes(Library(client), ["172.18.0.5"], clock=lambda: now[0])

        async def told() -> str:
            volumes.write(pod, await volumes.read(pod, obj), tmp_path)
            return (tmp_path / "v/token").read_text()

        api.canned.extend([token_answer("first"), token_answer("second")])
        assert (await told(), volumes._next_sync_s(pod)) == ("first", 800.0)
        now[0] = 799.0
        assert await told() == "first"
        now[0] = 800.0
        assert await told() == "second"

    seen = api.requests[0]
    assert seen.path == "/api/v1/namespaces/default/serviceaccounts/robot/token"
    assert seen.body["spec"] == {
        "audiences": [],
        "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "uid-of-web"},
    }


async def test_a_token_that_is_refused_is_told_by_its_volume() -> None:
    api = FakeApi()
    refusal = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
    api.canned.append(answer({**refusal, "message": 'serviceaccounts "default" not found'}, 404))
    obj = mounting(TOKEN)
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        with pytest.raises(MountError) as error:
            await PodVolumes(Library(client), [""]).read(parse_pod(obj), obj)
    assert str(error.value) == (
        'MountVolume.SetUp failed for volume "v" : failed to fetch token: serviceaccounts "default" not found'
    )


async def test_many_pods_read_an_object_once_and_old_readings_are_forgotten() -> None:
    api, now = FakeApi(), [0.0]
    api.put(config_map(a="1"))
    async with api.serve(), Client(Credentials(server=api.url)) as client:
        library = Library(client, clock=lambda: now[0])

        async def read(age_s: float, name: str = "c") -> Any:
            return await library.values(SourceKind.CONFIG_MAP, "default", name, age_s=age_s)

        assert await read(0.0) == {"a": b"1"}
        now[0] = 10.0
        assert (await read(11.0), len(api.requests)) == ({"a": b"1"}, 1)
        api.put(config_map(a="2"))
        assert (await read(5.0), len(api.requests)) == ({"a": b"2"}, 2)
        now[0] = 100.0
        assert await read(5.0, "none") is None
        assert json.dumps([name for _, _, name in library._read]) == "[]"


def test_failures_are_tried_again_later_each_time() -> None:
    volumes = PodVolumes(Library(None), [])
    assert [volumes.retry_s() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
