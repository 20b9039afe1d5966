"""Logs and exec through the API server to a kubelet that is a few lines of a test."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import aiohttp
import pytest

from tests.apiserver.harness import pod
from tests.apiserver.kubelet import ERROR, PODS, PROTOCOL, STDIN, add_pod, kubelet_at
from tests.apiserver.serving import Served, authority, served

EXEC = f"{PODS}/p/exec?command=sh&command=-c&command=exit+3&stdin=true&stdout=true&stderr=true"
WAITING = 'container "c" in pod "p" is waiting to start: ContainerCreating'
BAD_OPTIONS = 'PodLogOptions "p" is invalid: '
OLD_CLIENT = "unable to upgrade: the server speaks v5.channel.k8s.io, the client offered v4.channel.k8s.io"


async def text_of(api: Served, path: str) -> tuple[int, str]:
    async with api.admin.get(api.url + path) as response:
        return response.status, await response.text()


# Logs


async def test_a_log_comes_from_the_kubelet_with_the_options_asked_for(tmp_path: Path):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port)
        options = "tailLines=5&previous=false&timestamps=true&sinceSeconds=7&limitBytes=100&container=c"
        async with api.admin.get(f"{api.url}{PODS}/p/log?{options}") as response:
            assert response.headers["Content-Type"] == "text/plain"
            assert await response.text() == "one\n"
        assert (await text_of(api, f"{PODS}/p/log"))[1] == "one\n"
    wanted = [("timestamps", "true"), ("tailLines", "5"), ("sinceSeconds", "7"), ("limitBytes", "100")]
    assert kubelet.asked == [("/containerLogs/default/p/c", wanted), ("/containerLogs/default/p/c", [])]
    assert kubelet.peers == ["kube-apiserver", "kube-apiserver"]


async def test_a_followed_log_arrives_as_it_is_written(tmp_path: Path):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port)
        async with api.admin.get(f"{api.url}{PODS}/p/log?follow=true") as response:
            assert await response.content.readline() == b"one\n"
            kubelet.more.set()
            assert await response.content.read() == b"two\n"


@pytest.mark.parametrize(
    ("spec", "query", "code", "message"),
    [
        ({}, "container=x", 400, "container x is not valid for pod p"),
        ({}, "tailLines=-1", 422, BAD_OPTIONS + "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ({}, "sinceSeconds=0", 422, BAD_OPTIONS + "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ({}, "limitBytes=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"nodeName": "n2"}, "", 404, 'nodes "n2" not found'),
        (
            {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]},
            "",
            400,
            "a container name must be specified for pod p, choose one of: [a b]",
        ),
    ],
)
async def test_a_log_that_cannot_be_had_is_refused_in_the_real_words(tmp_path, spec, query, code, message):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port, **spec)
        found, text = await text_of(api, f"{PODS}/p/log?{query}")
    assert (found, json.loads(text)["message"]) == (code, message)
    assert kubelet.asked == []


async def test_the_log_of_a_pod_on_no_node_is_empty_and_of_none_not_found(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", PODS, pod("p"))
        assert await text_of(api, f"{PODS}/p/log") == (200, "")
        code, text = await text_of(api, f"{PODS}/q/log")
        assert (code, json.loads(text)["message"]) == (404, 'pods "q" not found')


@pytest.mark.parametrize(
    ("refusal", "code", "message"),
    [
        ((400, WAITING), 400, WAITING),
        ((404, "pod does not exist"), 404, "pod does not exist"),
        ((500, "disk on fire"), 500, "Internal error occurred: disk on fire"),
    ],
)
async def test_a_kubelets_refusal_reaches_the_client(tmp_path, refusal, code, message):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port)
        kubelet.refuses = refusal
        found, text = await text_of(api, f"{PODS}/p/log")
        assert (found, json.loads(text)["message"]) == (code, message)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await api.admin.ws_connect(api.url + EXEC, protocols=(PROTOCOL,))
        assert caught.value.status == code
        found, text = await text_of(api, EXEC)
        assert (found, json.loads(text)["message"]) == (code, message)


async def test_a_kubelet_that_is_not_there_or_not_ours_is_an_error_of_the_server(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with served(tmp_path) as api:
        await add_pod(api, port)
        code, text = await text_of(api, f"{PODS}/p/log")
        assert code == 500
        assert f'Get "https://127.0.0.1:{port}/containerLogs/default/p/c"' in json.loads(text)["message"]


async def test_a_kubelet_with_a_certificate_for_another_address_is_not_talked_to(tmp_path: Path):
    other = authority().issue_server("n9", hosts=["10.9.9.9"])
    async with served(tmp_path) as api, kubelet_at(tmp_path, other) as (kubelet, port):
        await add_pod(api, port)
        assert (await text_of(api, f"{PODS}/p/log"))[0] == 500
    assert kubelet.asked == []


# exec


async def test_exec_passes_frames_both_ways_and_the_end(tmp_path: Path):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port)
        async with api.admin.ws_connect(api.url + EXEC, protocols=(PROTOCOL,)) as channel:
            assert channel.protocol == PROTOCOL
            assert await channel.receive_bytes() == b"\x01hello\n"
            assert await channel.receive_bytes() == b"\x02oops\n"
            await channel.send_bytes(bytes([STDIN]) + b"abc")
            assert await channel.receive_bytes() == b"\x01ABC"
            large = b"x" * 300_000
            await channel.send_bytes(bytes([STDIN]) + large)
            assert await channel.receive_bytes() == b"\x01" + large.upper()
            await channel.send_bytes(b"\xff\x00")
            status = await channel.receive_bytes()
            assert (status[0], json.loads(status[1:])["reason"]) == (ERROR, "NonZeroExitCode")
            assert (await channel.receive()).type is aiohttp.WSMsgType.CLOSE
            assert channel.close_code == 1000
    commands = [("command", part) for part in ("sh", "-c", "exit 3")]
    assert kubelet.asked == [("/exec/default/p/c", [("input", "1"), ("output", "1"), ("error", "1"), *commands])]


async def test_a_client_that_goes_ends_the_kubelets_side(tmp_path: Path):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port)
        async with api.admin.ws_connect(api.url + EXEC, protocols=(PROTOCOL,)) as channel:
            await channel.receive_bytes()
        async with asyncio.timeout(30):
            await kubelet.client_gone.wait()


@pytest.mark.parametrize(
    ("query", "protocol", "message"),
    [
        ("stdout=true", PROTOCOL, "you must specify at least one command for the container"),
        ("command=a", PROTOCOL, "you must specify at least one of stdin, stdout, stderr"),
        ("command=a&stdout=true&container=x", PROTOCOL, "container x is not valid for pod p"),
        ("command=a&stdout=true", "v4.channel.k8s.io", OLD_CLIENT),
        ("command=a&stdout=true", "", "Upgrade request required"),
    ],
)
async def test_exec_that_cannot_start_is_refused(tmp_path, query, protocol, message):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Protocol": protocol} if protocol else {}
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (_, port):
        await add_pod(api, port)
        async with api.admin.get(f"{api.url}{PODS}/p/exec?{query}", headers=headers) as response:
            assert (response.status, (await response.json())["message"]) == (400, message)


async def test_exec_into_a_pod_on_no_node_is_refused(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", PODS, pod("p"))
        code, text = await text_of(api, EXEC)
        assert (code, json.loads(text)["message"]) == (400, "pod p does not have a host assigned")


# kubectl


async def test_kubectl_logs_and_exec(tmp_path: Path):
    async with served(tmp_path) as api, kubelet_at(tmp_path) as (kubelet, port):
        await add_pod(api, port)
        assert await api.kubectl("logs", "p") == "one\n"
        kubelet.more.set()
        assert await api.kubectl("logs", "-f", "p", "--tail=3") == "one\ntwo\n"
        said = await api.kubectl("exec", "-i", "p", "--", "sh", stdin="abc\n", ok=False)
        assert sorted(said.splitlines()) == ["ABC", "command terminated with exit code 3", "hello", "oops"]
        kubelet.refuses = (404, 'container not found ("c")')
        said = await api.kubectl("exec", "p", "--", "sh", ok=False)
        assert 'container not found ("c")' in said
    assert kubelet.asked[1] == ("/containerLogs/default/p/c", [("follow", "true"), ("tailLines", "3")])
