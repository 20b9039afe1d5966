"""The client against a server on loopback, over TLS with client certificates."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from fairway.api.resources import CONFIG_MAPS, DEPLOYMENTS, NODES, PODS
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import Retry
from fairway.watch.client import STRATEGIC_MERGE_PATCH, Client, WatchEvent, WatchEventType
from fairway.watch.kubeconfig import Credentials, load_kubeconfig
from tests.watch.authority import Authority
from tests.watch.fake_api import FakeApi, raw


def config_map(name: str, value: str = "") -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi().serve() as served:
        yield served


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[Client]:
    async with Client(Credentials(server=api.url, token="secret"), user_agent="fairway-test") as entered:
        yield entered


def kubeconfig(directory: Path, url: str, authority: Authority, *, name: str = "") -> Path:
    pair = authority.issue("admin")
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(authority.certificate).decode()}
    user = {
        "client-certificate-data": base64.b64encode(pair.certificate).decode(),
        "client-key-data": base64.b64encode(pair.key).decode(),
    }
    path = directory / "kubeconfig"
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {**cluster, **({"tls-server-name": name} if name else {})}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("name", ["", "fake-api"])
async def test_tls_with_a_client_certificate_reaches_a_server_that_demands_one(tmp_path, name):
    authority = Authority()
    api = FakeApi()
    api.put(config_map("a"))
    async with api.serve(tls=authority.server_context(tmp_path, demand_client=True)):
        async with Client(load_kubeconfig(kubeconfig(tmp_path, api.url, authority, name=name))) as client:
            assert (await client.get(CONFIG_MAPS, "a", "default"))["metadata"]["name"] == "a"


async def test_a_server_of_another_authority_is_not_spoken_to(tmp_path):
    api = FakeApi()
    async with api.serve(tls=Authority().server_context(tmp_path)):
        async with Client(load_kubeconfig(kubeconfig(tmp_path, api.url, Authority()))) as client:
            with pytest.raises(Retry, match="certificate verify failed"):
                await client.get(CONFIG_MAPS, "a", "default")
    assert api.requests == []


async def test_a_certificate_for_another_name_is_not_believed(tmp_path):
    authority = Authority()
    api = FakeApi()
    async with api.serve(tls=authority.server_context(tmp_path)):
        async with Client(load_kubeconfig(kubeconfig(tmp_path, api.url, authority, name="elsewhere"))) as client:
            with pytest.raises(Retry, match=r"[Hh]ostname mismatch|certificate is not valid for"):
                await client.get(CONFIG_MAPS, "a", "default")


async def test_every_request_says_who_asks(client, api):
    await client.create(CONFIG_MAPS, config_map("a"))
    headers = api.requests[0].headers
    assert headers["Authorization"] == "Bearer secret"
    assert headers["User-Agent"] == "fairway-test"
    assert headers["Content-Type"] == "application/json"


REQUESTS: list[tuple[str, Callable, tuple]] = [
    (
        "create takes the namespace of the body",
        lambda client: client.create(CONFIG_MAPS, config_map("b")),
        ("POST", "/api/v1/namespaces/default/configmaps", {}, config_map("b"), "application/json"),
    ),
    (
        "create in a namespace, under a name's subresource",
        lambda client: client.create(PODS, {"metadata": {"name": "p"}}, "web", name="p", subresource="binding"),
        ("POST", "/api/v1/namespaces/web/pods/p/binding", {}, {"metadata": {"name": "p"}}, "application/json"),
    ),
    (
        "create of a cluster-scoped object has no namespace",
        lambda client: client.create(NODES, {"metadata": {"name": "n"}}, "web"),
        ("POST", "/api/v1/nodes", {}, {"metadata": {"name": "n"}}, "application/json"),
    ),
    (
        "update of a status",
        lambda client: client.update(PODS, {"metadata": {"name": "p", "namespace": "web"}}, subresource="status"),
        (
            "PUT",
            "/api/v1/namespaces/web/pods/p/status",
            {},
            {"metadata": {"name": "p", "namespace": "web"}},
            "application/json",
        ),
    ),
    (
        "patch is a merge patch",
        lambda client: client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 2}}, "web", subresource="scale"),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/web/deployments/d/scale",
            {},
            {"spec": {"replicas": 2}},
            "application/merge-patch+json",
        ),
    ),
    (
        "patch of another type",
        lambda client: client.patch(NODES, "n", {"a": 1}, content_type=STRATEGIC_MERGE_PATCH),
        ("PATCH", "/api/v1/nodes/n", {}, {"a": 1}, "application/strategic-merge-patch+json"),
    ),
    (
        "delete sends its options",
        lambda client: client.delete(PODS, "p", "web", grace_period_s=0, propagation="Background", uid="u1"),
        (
            "DELETE",
            "/api/v1/namespaces/web/pods/p",
            {},
            {
                "kind": "DeleteOptions",
                "apiVersion": "v1",
                "gracePeriodSeconds": 0,
                "propagationPolicy": "Background",
                "preconditions": {"uid": "u1"},
            },
            "application/json",
        ),
    ),
    (
        "get of a subresource",
        lambda client: client.get(PODS, "p", "web", subresource="status"),
        ("GET", "/api/v1/namespaces/web/pods/p/status", {}, None, None),
    ),
]


@pytest.mark.parametrize(("ask", "expected"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS])
async def test_a_request_is_what_the_api_wants(client, api, ask, expected):
    api.canned.append(raw(b'{"kind":"Anything"}'))
    assert await ask(client) == {"kind": "Anything"}
    seen = api.requests[0]
    assert (seen.method, seen.path, seen.query, seen.body, seen.headers.get("Content-Type")) == expected


async def test_a_list_fills_in_what_its_items_leave_out(client, api):
    api.put(config_map("a", "1"))
    answer = await client.list(CONFIG_MAPS, "default", label_selector="x=y", field_selector="metadata.name=a")
    assert answer["metadata"] == {"resourceVersion": "101"}
    assert [(item["apiVersion"], item["kind"], item["data"]) for item in answer["items"]] == [
        ("v1", "ConfigMap", {"value": "1"})
    ]
    assert api.requests[0].query == {"labelSelector": "x=y", "fieldSelector": "metadata.name=a"}


async def test_a_status_becomes_an_api_error(client):
    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, "nope", "default")
    error = caught.value
    assert (error.code, error.reason, error.message) == (404, "NotFound", 'configmaps "nope" not found')
    assert error.details == {"name": "nope"}


async def test_a_page_of_a_proxy_becomes_an_api_error_with_its_first_line(client, api):
    api.canned.append(raw(b"<h1>Bad Gateway</h1>\nmore", status=502, content_type="text/html"))
    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert (caught.value.code, caught.value.reason, str(caught.value)) == (502, "Unknown", "<h1>Bad Gateway</h1>")


async def test_the_servers_wish_when_to_come_back_is_kept(client, api):
    api.canned.append(raw(b'{"kind":"Status","code":429,"reason":"TooManyRequests"}', status=429, Retry_After="3"))
    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert caught.value.details == {"retryAfterSeconds": 3}


@pytest.mark.parametrize("body", [b"", b"half {", b"[1]", b'"text"'])
async def test_an_answer_that_is_no_json_object_is_worth_another_try(client, api, body):
    api.canned.append(raw(body))
    with pytest.raises(Retry, match="no JSON object"):
        await client.get(CONFIG_MAPS, "a", "default")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"metadata":{},"items":[]}', "has no resourceVersion"),
        (b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}}]}', "holds an item without a name"),
    ],
)
async def test_a_list_that_cannot_be_watched_from_is_worth_another_try(client, api, body, message):
    api.canned.append(raw(body))
    with pytest.raises(Retry, match=message):
        await client.list(CONFIG_MAPS)


async def test_a_redirect_is_not_followed(client, api):
    api.canned.append(raw(b"", status=302, Location="http://127.0.0.1:1/"))
    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert caught.value.code == 302
    assert len(api.requests) == 1


async def test_nobody_listening_is_worth_another_try():
    async with Client(Credentials(server="http://127.0.0.1:1")) as client:
        with pytest.raises(Retry, match=r"^GET http://127\.0\.0\.1:1/api/v1/nodes/n: Cannot connect to host"):
            await client.get(NODES, "n")


async def test_text_is_read_from_paths_that_are_no_objects(client):
    assert await client.read_text("/readyz") == "ok"


async def _watch(client: Client, *, idle_s: float = 10.0) -> list[WatchEvent]:
    stream = client.watch(CONFIG_MAPS, resource_version="5", timeout_s=300, idle_s=idle_s)
    async with aclosing(stream):
        return [event async for event in stream]


async def test_a_watch_hands_out_events_in_order_and_ends_with_the_server(client, api):
    api.canned.append(
        raw(
            b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n'
            b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}\n'
            b'{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
        )
    )
    assert await _watch(client) == [
        WatchEvent(type=WatchEventType.ADDED, object={"metadata": {"name": "a"}}),
        WatchEvent(type=WatchEventType.BOOKMARK, object={"metadata": {"resourceVersion": "9"}}),
        WatchEvent(type=WatchEventType.ERROR, object={"kind": "Status", "code": 410}),
    ]
    assert api.requests[0].query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
        "timeoutSeconds": "300",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>\n", "a line that is no event"),
        (b'{"type":"ADDED"}\n', "a line that is no event"),
        (b'{"type":"NEWS","object":{}}\n', "an event of unknown type 'NEWS'"),
        (b'{"type":"ADDED","object":{"metadata":{}}}\n', "an object without a name"),
    ],
)
async def test_a_stream_that_is_no_watch_is_worth_another_try(client, api, body, message):
    api.canned.append(raw(body))
    with pytest.raises(Retry, match=message):
        await _watch(client)


async def test_a_large_object_arrives_whole(client, api):
    value = "x" * 3_000_000
    api.canned.append(raw(b'{"type":"ADDED","object":{"metadata":{"name":"a"},"v":"%s"}}\n' % value.encode()))
    assert [event.object["v"] for event in await _watch(client)] == [value]


async def test_a_silent_watch_is_given_up(client, api):
    with pytest.raises(Retry, match="Timeout on reading data"):
        await _watch(client, idle_s=0.01)


async def test_half_a_line_before_a_break_is_no_event(client, api):
    def half(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n{"type":"ADD')
        response.headers["Content-Length"] = "1000"
        response.force_close()
        return response

    api.canned.append(half)
    async with aclosing(client.watch(CONFIG_MAPS, resource_version="5", timeout_s=300, idle_s=10.0)) as stream:
        assert (await anext(stream)).object["metadata"]["name"] == "a"
        with pytest.raises(Retry, match=r"configmaps: the answer broke off$"):
            await anext(stream)


async def test_one_connection_serves_many_requests(tmp_path):
    authority = Authority()
    api = FakeApi()
    api.put(config_map("a"))
    context: ssl.SSLContext = authority.server_context(tmp_path)
    ports: set[int] = set()
    handle = api.handle

    async def noting(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return await handle(request)

    api.handle = noting
    async with api.serve(tls=context):
        async with Client(load_kubeconfig(kubeconfig(tmp_path, api.url, authority))) as client:
            for _ in range(5):
                await client.get(CONFIG_MAPS, "a", "default")
    assert len(ports) == 1
