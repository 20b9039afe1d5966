"""whoami's answers."""

from __future__ import annotations

import json

import pytest

from fairway.kubelet.programs.messages import Request
from fairway.kubelet.programs.whoami import Whoami, canonical, duration_s, own_addresses

PEER = ("172.18.0.5", 41234)
HEADERS = [("Host", "172.18.0.3:30080"), ("x-b", "2"), ("User-Agent", "curl/8"), ("Accept", "*/*")]


def request(target: str = "/", *, method: str = "GET", body: bytes = b"") -> Request:
    found = Request(method, target, "1.1", HEADERS, PEER)
    found.body = body
    return found


def test_the_text_tells_who_and_what() -> None:
    response = Whoami("pod-1", "blue").handle(request("/x?y=1"))

    addresses = "".join(f"IP: {address}\n" for address in own_addresses())
    assert response.body.decode() == (
        f"Name: blue\nHostname: pod-1\n{addresses}RemoteAddr: 172.18.0.5:41234\n"
        "GET /x?y=1 HTTP/1.1\r\nHost: 172.18.0.3:30080\r\nUser-Agent: curl/8\r\nAccept: */*\r\nX-B: 2\r\n\r\n"
    )


def test_the_api_tells_it_as_json() -> None:
    response = Whoami("pod-1", "").handle(request("/api"))

    assert response.content_type == "application/json"
    assert json.loads(response.body) == {
        "hostname": "pod-1",
        "ip": own_addresses(),
        "headers": {"Accept": ["*/*"], "User-Agent": ["curl/8"], "X-B": ["2"]},
        "url": "/api",
        "host": "172.18.0.3:30080",
        "method": "GET",
        "remoteAddr": "172.18.0.5:41234",
    }


def test_health_is_what_was_posted_last() -> None:
    whoami = Whoami("pod-1", "")
    statuses = [whoami.handle(request("/health")).status]
    for body in (b"503", b"200"):
        assert whoami.handle(request("/health", method="POST", body=body)).status == 200
        statuses.append(whoami.handle(request("/health")).status)

    assert statuses == [200, 503, 200]


@pytest.mark.parametrize("body", [b"", b"soon", b"99", b"600"])
def test_health_that_is_no_status_is_refused(body: bytes) -> None:
    whoami = Whoami("pod-1", "")

    assert whoami.handle(request("/health", method="POST", body=body)).status == 400
    assert whoami.handle(request("/health")).status == 200


def test_bench_is_one_byte() -> None:
    assert Whoami("pod-1", "").handle(request("/bench")).body == b"1"


def test_an_answer_may_be_held_back() -> None:
    assert Whoami("pod-1", "").handle(request("/?wait=200ms")).delay_s == 0.2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("2s", 2.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("", 0.0),
        ("5", 0.0),
        ("x", 0.0),
        ("1.2.3s", 0.0),
    ],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


def test_header_names_are_gos() -> None:
    assert canonical("x-forwarded-FOR") == "X-Forwarded-For"


def test_this_machine_has_a_loopback_address() -> None:
    assert "127.0.0.1" in own_addresses()
