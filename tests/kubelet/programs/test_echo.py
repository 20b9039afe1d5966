"""The echo server's answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairway.kubelet.programs.echo import (
    EchoServer,
    access_line,
    client_addresses,
    describe,
    is_private,
    merged_headers,
    parse_query,
)
from fairway.kubelet.programs.messages import Request, Response

NODE = ("172.18.0.5", 41234)
STRANGER = ("203.0.113.9", 41234)


def request(
    target: str = "/",
    *,
    method: str = "GET",
    body: bytes = b"",
    peer: tuple[str, int] = NODE,
    **headers: str,
) -> Request:
    """headers: by name with _ for -; Host is the study's."""
    named = [("Host", "172.18.0.3:31303"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    found = Request(method, target, "1.1", named, peer)
    found.body = body
    return found


def echo(asked: Request, **environment: str) -> tuple[int, Any]:
    response = EchoServer("deploy-echo-1", {"LOG_IGNORE_PATH": asked.target.split("?")[0], **environment}).handle(asked)
    return response.status, json.loads(response.body)


def test_the_answer_is_the_images() -> None:
    """The fields and their order as mendhak/http-https-echo's index.js has them."""
    response = EchoServer("deploy-echo-1", {"LOG_IGNORE_PATH": "/a/b"}).handle(
        request("/a/b?x=1&x=2&y=%20z", User_Agent="curl/7.88.1", Accept="*/*")
    )

    assert response.content_type == "application/json; charset=utf-8"
    assert response.body.decode() == (
        """{
  "path": "/a/b",
  "headers": {
    "host": "172.18.0.3:31303",
    "user-agent": "curl/7.88.1",
    "accept": "*/*"
  },
  "method": "GET",
  "body": "",
  "fresh": false,
  "hostname": "172.18.0.3",
  "ip": "172.18.0.5",
  "ips": [],
  "protocol": "http",
  "query": {
    "x": [
      "1",
      "2"
    ],
    "y": " z"
  },
  "subdomains": [],
  "xhr": false,
  "os": {
    "hostname": "deploy-echo-1"
  },
  "connection": {}
}"""
    )


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_any_method_is_answered(method: str) -> None:
    status, body = echo(request("/any/path", method=method, body=b"hello"))

    assert (status, body["method"], body["path"], body["body"]) == (200, method, "/any/path", "hello")


def test_a_json_body_is_parsed_as_well() -> None:
    _, body = echo(request(body=b'{"a": ["b"]}', Content_Type="application/json; charset=utf-8", Content_Length="12"))

    assert (body["json"], body["body"]) == ({"a": ["b"]}, '{"a": ["b"]}')


def test_a_json_body_that_is_none_is_a_bad_request() -> None:
    asked = request(body=b"{", Content_Type="application/json", Content_Length="1")

    assert EchoServer("x", {}).handle(asked).status == 400


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(x_set_response_status_code="503"), 503),
        (request("/?x-set-response-status-code=404"), 404),
        (request("/?x-set-response-status-code=404", x_set_response_status_code="503"), 503),
        (request(x_set_response_status_code="99"), 200),
        (request(x_set_response_status_code="600"), 200),
        (request(x_set_response_status_code="soon"), 200),
        (request(x_set_response_status_code="201 Created"), 201),
    ],
)
def test_a_client_may_choose_the_status(asked: Request, status: int) -> None:
    assert echo(asked)[0] == status


def test_a_client_may_choose_delay_and_content_type() -> None:
    response = EchoServer("x", {"LOG_IGNORE_PATH": "/"}).handle(
        request("/?x-set-response-content-type=text/xml", x_set_response_delay_ms="250")
    )

    assert (response.delay_s, response.content_type) == (0.25, "text/xml")


def test_a_content_type_cannot_add_a_header() -> None:
    response = EchoServer("x", {"LOG_IGNORE_PATH": "/"}).handle(
        request("/?x-set-response-content-type=a%0d%0aSet-Cookie:%20b")
    )

    assert response.content_type == "aSet-Cookie: b"


@pytest.mark.parametrize(
    ("target", "environment", "body"),
    [("/?response_body_only=true", {}, b"raw"), ("/", {"ECHO_BACK_TO_CLIENT": "false"}, b"")],
)
def test_less_may_come_back(target: str, environment: dict[str, str], body: bytes) -> None:
    assert EchoServer("x", {"LOG_IGNORE_PATH": "/", **environment}).handle(request(target, body=b"raw")).body == body


def test_the_environment_comes_back_on_request() -> None:
    assert echo(request(), ECHO_INCLUDE_ENV_VARS="1", A="b")[1]["env"]["A"] == "b"


@pytest.mark.parametrize(
    ("headers", "merged"),
    [
        ([("A", "1"), ("a", "2")], {"a": "1, 2"}),
        ([("Cookie", "a=1"), ("Cookie", "b=2")], {"cookie": "a=1; b=2"}),
        ([("Set-Cookie", "a"), ("Set-Cookie", "b")], {"set-cookie": ["a", "b"]}),
        ([("User-Agent", "a"), ("User-Agent", "b")], {"user-agent": "a"}),
    ],
)
def test_headers_merge_as_node_merges_them(headers: list[tuple[str, str]], merged: dict[str, Any]) -> None:
    assert merged_headers(headers) == merged


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", {}),
        ("a", {"a": ""}),
        ("a=1&&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2&a=3", {"a": ["1", "2", "3"]}),
        ("a=%ED%95%9C&b=x+y&c=%zz", {"a": "한", "b": "x y", "c": "%zz"}),
        ("a=%ff", {"a": "\ufffd"}),
    ],
)
def test_queries_are_decoded(text: str, query: dict[str, Any]) -> None:
    assert parse_query(text) == query


@pytest.mark.parametrize(
    ("peer", "forwarded", "ip", "ips"),
    [
        ("172.18.0.5", "", "172.18.0.5", []),
        ("172.18.0.5", "203.0.113.9", "203.0.113.9", ["203.0.113.9"]),
        ("172.18.0.5", "198.51.100.1, 203.0.113.9, 10.0.0.1", "203.0.113.9", ["203.0.113.9", "10.0.0.1"]),
        ("172.18.0.5", "10.0.0.1, 10.0.0.2", "10.0.0.1", ["10.0.0.1", "10.0.0.2"]),
        ("203.0.113.9", "10.0.0.1", "203.0.113.9", []),
    ],
)
def test_a_private_peer_may_speak_for_another(peer: str, forwarded: str, ip: str, ips: list[str]) -> None:
    """Express with `trust proxy` loopback, linklocal, uniquelocal (package proxy-addr)."""
    assert client_addresses(peer, forwarded) == (ip, ips)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("10.10.1.3", True),
        ("172.18.0.100", True),
        ("172.32.0.1", False),
        ("192.168.9.9", True),
        ("169.254.1.1", True),
        ("8.8.8.8", False),
        ("10.10.1", False),
        ("10.10.1.300", False),
        ("unknown", False),
        ("::1", True),
        ("fe80::1", True),
        ("fd00:172:18::3", True),
        ("fec0::1", False),
        ("2001:db8::1", False),
    ],
)
def test_private_addresses(address: str, private: bool) -> None:
    assert is_private(address) is private


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (request(Host2="x"), {"hostname": "172.18.0.3", "subdomains": [], "protocol": "http"}),
        (
            request(X_Forwarded_Host="a.b.shop.example.com:8443, other", X_Forwarded_Proto="https"),
            {"hostname": "a.b.shop.example.com", "subdomains": ["shop", "b", "a"], "protocol": "https"},
        ),
        (
            request(peer=STRANGER, X_Forwarded_Host="evil", X_Forwarded_Proto="https"),
            {"hostname": "172.18.0.3", "subdomains": [], "protocol": "http"},
        ),
        (request(X_Requested_With="XMLHttpRequest"), {"xhr": True}),
        (request(If_None_Match="*"), {"fresh": True}),
        (request(If_None_Match="*", Cache_Control="no-cache"), {"fresh": False}),
        (request(If_None_Match='"etag"'), {"fresh": False}),
        (request(method="POST", If_None_Match="*"), {"fresh": False}),
        (request("http://web:80/x?y=1"), {"path": "/x", "query": {"y": "1"}}),
    ],
)
def test_what_express_makes_of_a_request(asked: Request, fields: dict[str, Any]) -> None:
    found = describe(asked, "pod")

    assert {name: found[name] for name in fields} == fields


def test_a_host_in_brackets_keeps_them() -> None:
    asked = Request("GET", "/", "1.1", [("Host", "[fd00::1]:8080")], NODE)

    assert describe(asked, "pod")["hostname"] == "[fd00::1]"


def test_the_access_log_is_apaches() -> None:
    line = access_line(request("/x", User_Agent="curl/8"), Response(b"abc"), 784111777.0)

    assert line == '172.18.0.5 - - [06/Nov/1994:08:49:37 +0000] "GET /x HTTP/1.1" 200 3 "-" "curl/8"'
