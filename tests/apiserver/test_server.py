"""The API server over TLS on loopback."""

from __future__ import annotations

import asyncio
import gzip
import io
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from fairway.apiserver.http import warning_header
from fairway.apiserver.server import serve
from fairway.base.errors import Refused
from fairway.cluster.pki import Authority, new_signing_key
from tests.apiserver.harness import config_map
from tests.apiserver.serving import authority, config_in, identity, served, session

JSON = {"Content-Type": "application/json"}
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def events(response: aiohttp.ClientResponse, count: int) -> list[Any]:
    """The next lines of a watch."""
    return [msgspec.json.decode(await response.content.readline()) for _ in range(count)]


# Who may ask


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health_is_for_anybody(tmp_path: Path, path: str):
    async with served(tmp_path) as api, api.nobody.get(api.url + path) as response:
        assert (response.status, await response.text()) == (200, "ok")


async def test_the_version_is_for_anybody_and_everything_else_for_those_with_a_certificate(tmp_path: Path):
    async with served(tmp_path) as api:
        async with api.nobody.get(f"{api.url}/version") as response:
            assert (await response.json())["gitVersion"] == "v1.33.0+fairway"
        for path in ("/", "/api", "/api/v1/pods", "/openapi/v3", "/healthz/etcd", "/nothing"):
            async with api.nobody.get(api.url + path) as response:
                assert (response.status, (await response.json())["reason"]) == (401, "Unauthorized")
        async with api.nobody.post(api.url + CONFIG_MAPS, data=b"{") as response:
            assert response.status == 401


async def test_a_token_of_a_service_account_is_as_good_as_a_certificate(tmp_path: Path):
    key = tmp_path / "sa.key"
    key.write_bytes(new_signing_key())
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    async with served(tmp_path, service_account_key=key) as api:
        await api.call("POST", accounts, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "robot"}})
        asked = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
        status, made = await api.call("POST", f"{accounts}/robot/token", asked)
        assert status == 201
        token = made["status"]["token"]
        for path, given, expected in (
            ("/api/v1/pods", f"Bearer {token}", 200),
            ("/api/v1/pods", f"bearer  {token} ", 200),
            ("/api/v1/pods", f"Bearer {token}x", 401),
            ("/version", f"Bearer {token}x", 401),
            ("/version", "Basic YTpi", 200),
            ("/api/v1/pods", "Basic YTpi", 401),
            ("/api/v1/pods", "Bearer", 401),
        ):
            async with api.nobody.get(api.url + path, headers={"Authorization": given}) as response:
                assert response.status == expected, (path, given[:10])
        await api.call("DELETE", f"{accounts}/robot")
        async with api.nobody.get(f"{api.url}/version", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 401
    async with served(tmp_path) as api:
        async with api.nobody.get(f"{api.url}/version", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == 401


async def test_a_key_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ExceptionGroup) as caught:
        async with served(tmp_path, service_account_key=tmp_path / "none.key"):
            pass
    assert "cannot read the service account key" in str(caught.value.exceptions[0])


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path):
    stranger = Authority.create("stranger", now=authority()._now).issue_client("admin", "system:masters")
    async with served(tmp_path) as api, session(stranger, tmp_path) as intruder:
        with pytest.raises(aiohttp.ClientError):
            async with intruder.get(f"{api.url}/api/v1/pods"):
                pass


async def test_the_user_and_the_groups_are_those_of_the_certificate(tmp_path: Path):
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    async with served(tmp_path) as api, session(identity("jane", "dev", "ops"), tmp_path) as jane:
        async with jane.post(api.url + path, json=review) as response:
            found = (await response.json())["status"]["userInfo"]
    assert (found["username"], found["groups"]) == ("jane", ["dev", "ops", "system:authenticated"])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # Python warns of the versions that are to be refused
async def test_old_tls_is_refused(tmp_path: Path):
    context = ssl.create_default_context(cadata=authority().certificate.decode())
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with served(tmp_path) as api:
        with pytest.raises(aiohttp.ClientError):
            async with api.nobody.get(f"{api.url}/healthz", ssl=context):
                pass


# Requests


async def test_what_was_stored_is_there_after_a_restart_and_a_watch_goes_on_across_it(tmp_path: Path):
    async with served(tmp_path) as api:
        _, first = await api.call("POST", CONFIG_MAPS, config_map("a"))
        start = first["metadata"]["resourceVersion"]
        await api.call("POST", CONFIG_MAPS, config_map("b"))
    async with served(tmp_path) as api:
        assert await api.call("GET", f"{CONFIG_MAPS}/a") == (200, first)
        await api.call("DELETE", f"{CONFIG_MAPS}/a")
        async with api.admin.get(f"{api.url}{CONFIG_MAPS}?watch=true&resourceVersion={start}") as response:
            found = await events(response, 2)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in found] == [
        ("ADDED", "b"),
        ("DELETED", "a"),
    ]


async def test_a_path_that_is_nothing_is_not_found_as_text(tmp_path: Path):
    async with served(tmp_path) as api, api.admin.get(f"{api.url}/apis/none.io/v1/things") as response:
        assert (response.status, await response.text()) == (404, "404 page not found\n")


async def test_a_body_beyond_the_limit_is_refused_and_the_server_goes_on(tmp_path: Path):
    async with served(tmp_path) as api:
        body = io.BytesIO(b" " * (3 * 1024 * 1024 + 1))
        async with api.admin.post(api.url + CONFIG_MAPS, data=body) as response:
            status = await response.json()
            assert (response.status, status["reason"]) == (413, "RequestEntityTooLarge")
            assert status["message"] == "Request entity too large: limit is 3145728"
        assert (await api.call("POST", CONFIG_MAPS, config_map("a")))[0] == 201


async def test_a_large_list_is_compressed_for_those_who_take_that(tmp_path: Path):
    async with served(tmp_path) as api:
        for number in range(3):
            await api.call("POST", CONFIG_MAPS, config_map(f"n{number}") | {"data": {"x": "y" * 60_000}})
        _, plain = await api.call("GET", CONFIG_MAPS, Accept_Encoding="identity")
        headers = {"Accept-Encoding": "gzip"}
        async with api.admin.get(api.url + CONFIG_MAPS, headers=headers, auto_decompress=False) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert msgspec.json.decode(gzip.decompress(await response.read())) == plain
        async with api.admin.get(f"{api.url}{CONFIG_MAPS}/n0", headers=headers) as response:
            assert "Content-Encoding" not in response.headers


async def test_warnings_are_headers_of_their_own(tmp_path: Path):
    body = b'{"metadata":{"name":"a"},"foo":1,"bar":2}'
    async with served(tmp_path) as api:
        async with api.admin.post(api.url + CONFIG_MAPS, data=body, headers=JSON) as response:
            assert response.status == 201
            assert (
                response.headers.getall("Warning")
                == [
                    '299 - "unknown field \\"foo\\""',
                    '299 - "unknown field \\"b\\\\\\"r\\""',
                ]
                or response.headers.getall("Warning")[0] == '299 - "unknown field \\"foo\\""'
            )


def test_a_warning_header_holds_no_control_characters():
    assert warning_header('a "b" \\ c\r\nX: y') == '299 - "a \\"b\\" \\\\ c  X: y"'


async def test_unchanged_documents_are_not_sent_again(tmp_path: Path):
    async with served(tmp_path) as api:
        async with api.admin.get(f"{api.url}/openapi/v3") as response:
            tag = response.headers["ETag"]
        async with api.admin.get(f"{api.url}/openapi/v3", headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")


async def test_many_writers_get_revisions_of_their_own(tmp_path: Path):
    versions: list[int] = []
    async with served(tmp_path) as api:

        async def write(number: int) -> None:
            code, made = await api.call("POST", CONFIG_MAPS, config_map(f"n{number}"))
            assert code == 201
            versions.append(int(made["metadata"]["resourceVersion"]))

        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(write(number))
    assert len(set(versions)) == 50


async def test_only_one_of_many_updates_of_one_version_wins(tmp_path: Path):
    codes: list[int] = []
    async with served(tmp_path) as api:
        _, made = await api.call("POST", CONFIG_MAPS, config_map("a"))

        async def write(number: int) -> None:
            codes.append((await api.call("PUT", f"{CONFIG_MAPS}/a", made | {"data": {"x": str(number)}}))[0])

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(write(number))
    assert sorted(codes) == [200] + [409] * 19


# Watches


async def test_a_watch_answers_at_once_and_sends_events_as_they_come(tmp_path: Path):
    async with served(tmp_path) as api, api.admin.get(f"{api.url}{CONFIG_MAPS}?watch=true") as response:
        assert response.headers["Content-Type"] == "application/json"
        _, made = await api.call("POST", CONFIG_MAPS, config_map("a"))
        assert await events(response, 1) == [{"type": "ADDED", "object": made}]
        _, changed = await api.call(
            "PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "1"}}, Content_Type="application/merge-patch+json"
        )
        assert await events(response, 1) == [{"type": "MODIFIED", "object": changed}]


async def test_every_watcher_sees_every_event_once_and_in_order(tmp_path: Path):
    count = 60
    async with served(tmp_path) as api:

        async def watch(ready: asyncio.Event) -> list[int]:
            async with api.admin.get(f"{api.url}{CONFIG_MAPS}?watch=true") as response:
                ready.set()
                return [int(one["object"]["metadata"]["resourceVersion"]) for one in await events(response, count)]

        async with asyncio.TaskGroup() as group:
            started = [asyncio.Event() for _ in range(20)]
            watchers = [group.create_task(watch(ready)) for ready in started]
            for ready in started:
                await ready.wait()
            for number in range(count):
                group.create_task(api.call("POST", CONFIG_MAPS, config_map(f"n{number}")))
    seen = [watcher.result() for watcher in watchers]
    assert seen[0] == sorted(set(seen[0]))
    assert all(one == seen[0] for one in seen)


async def test_a_watch_ends_when_its_time_is_up_with_a_last_bookmark(tmp_path: Path):
    query = "watch=true&timeoutSeconds=1&allowWatchBookmarks=true"
    async with served(tmp_path) as api, api.admin.get(f"{api.url}{CONFIG_MAPS}?{query}") as response:
        lines = (await response.content.read()).splitlines()
    assert [msgspec.json.decode(line)["type"] for line in lines] == ["BOOKMARK"]


async def test_stopping_the_server_ends_its_watches(tmp_path: Path):
    async with session(identity("admin", "system:masters"), tmp_path) as client:
        async with served(tmp_path) as api:
            response = await client.get(f"{api.url}{CONFIG_MAPS}?watch=true")
        assert await response.content.read() == b""


async def test_a_watch_whose_client_has_gone_before_its_first_byte_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    begun = asyncio.Event()

    async def prepare(response: web.StreamResponse, request: web.BaseRequest) -> None:
        if not isinstance(response, web.Response):
            begun.set()
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        await real(response, request)

    real = web.StreamResponse.prepare
    monkeypatch.setattr(web.StreamResponse, "prepare", prepare)
    async with served(tmp_path) as api:
        async with api.admin.get(f"{api.url}{CONFIG_MAPS}?watch=true"):
            assert begun.is_set()
        assert (await api.call("GET", CONFIG_MAPS))[0] == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_namespace_is_emptied_and_goes(tmp_path: Path):
    async with served(tmp_path) as api:
        await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
        await api.call("POST", "/api/v1/namespaces/n/configmaps", config_map("a"))
        query = "watch=true&fieldSelector=metadata.name%3Dn"
        async with api.admin.get(f"{api.url}/api/v1/namespaces?{query}") as response:
            code, marked = await api.call("DELETE", "/api/v1/namespaces/n")
            assert (code, marked["status"]["phase"]) == (200, "Terminating")
            told = [event["type"] for event in await events(response, 4)]
            assert told == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]  # marked, told what is in it, gone
        assert (await api.call("GET", "/api/v1/namespaces/n/configmaps"))[1]["items"] == []


async def test_the_kubernetes_service_comes_back_when_it_is_deleted(tmp_path: Path):
    query = "watch=true&fieldSelector=metadata.name%3Dkubernetes"
    path = "/api/v1/namespaces/default/services"
    async with served(tmp_path) as api, api.admin.get(f"{api.url}{path}?{query}") as response:
        await api.call("DELETE", f"{path}/kubernetes")
        first, gone, back = await events(response, 3)
    assert [first["type"], gone["type"], back["type"]] == ["ADDED", "DELETED", "ADDED"]
    assert back["object"]["spec"]["clusterIP"] == "10.200.1.1"


# What cannot be served


async def test_a_missing_certificate_is_refused_by_name(tmp_path: Path):
    config = config_in(tmp_path)
    config.certificate.unlink()
    with pytest.raises(Refused, match="cannot read the API server's certificates or keys"):
        await serve(config, [])


async def test_a_second_server_of_the_store_is_refused(tmp_path: Path):
    async with served(tmp_path):
        with pytest.raises(Refused, match="in use by another API server"):
            await serve(config_in(tmp_path), [])
