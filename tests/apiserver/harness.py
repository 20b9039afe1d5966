"""A whole API server without HTTP and disk: requests in, answers out, the clock a number."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from fairway.api.status import ApiError
from fairway.apiserver.allocators import ServiceAllocator
from fairway.apiserver.bootstrap import ensure
from fairway.apiserver.handlers import handle
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.ranges import IPNetwork, PortRange
from fairway.apiserver.registry import Registry
from fairway.apiserver.representation import error_response
from fairway.apiserver.request import Request, Response, StreamResponse, User
from fairway.apiserver.revisions import Revisions
from fairway.apiserver.watching import WatchStream

START = datetime(2026, 1, 1, tzinfo=UTC)
CIDR = IPv4Network("10.200.1.0/24")
CONTROL_PLANE = IPv4Address("172.18.0.3")

Answer = tuple[int, Any]


class Harness:
    """Every write is durable at once, unless `is_slow_disk` is set: then `publish` makes it so."""

    def __init__(self, *, revisions: Revisions | None = None, cidrs: Sequence[IPNetwork] = (CIDR,)) -> None:
        self.now = START
        self.revisions = revisions or Revisions()
        self.is_slow_disk = False
        self.warnings: tuple[str, ...] = ()
        self._numbers = itertools.count(1)
        self.registry = Registry(
            revisions=self.revisions,
            strategy_for=strategy_for,
            new_allocator=lambda: ServiceAllocator(networks=cidrs, node_ports=PortRange(), rng=random.Random(7)),
        )
        ensure(self.registry, service_cidrs=cidrs, address=CONTROL_PLANE, port=6443, around=self.around())
        self.publish()

    def around(self) -> Surroundings:
        return Surroundings(now=self.now, new_uid=self._uid, new_suffix=self._suffix)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def publish(self) -> None:
        self.revisions.publish(self.revisions.accepted)

    def call(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        """Status code and decoded body. headers: content_type, accept, user_agent."""
        answer = self.respond(method, url, body, **headers)
        assert isinstance(answer, Response)
        self.warnings = answer.warnings
        return answer.code, msgspec.json.decode(answer.body)

    def respond(self, method: str, url: str, body: Any = None, **headers: str) -> Response | StreamResponse:
        split = urlsplit(url)
        if isinstance(body, str):
            body = body.encode()
        elif body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = Request(
            method=method,
            path=unquote(split.path),
            query={name: tuple(values) for name, values in parse_qs(split.query, keep_blank_values=True).items()},
            body=body or b"",
            user=User(name="admin", groups=("system:masters",)),
            **headers,
        )
        try:
            answer: Response | StreamResponse = handle(self.registry, request, self.around(), watch_timeout_s=1800)
        except ApiError as error:
            answer = error_response(error)
        if not self.is_slow_disk:
            self.publish()
        return answer

    def get(self, url: str, **headers: str) -> Answer:
        return self.call("GET", url, **headers)

    def create(self, url: str, body: Any) -> Any:
        """The created object; anything else fails the test."""
        code, made = self.call("POST", url, body)
        assert code == 201, made
        return made

    def patch(self, url: str, body: Any, kind: str = "merge") -> Answer:
        types = {"merge": "merge-patch", "json": "json-patch", "strategic": "strategic-merge-patch"}
        return self.call("PATCH", url, body, content_type=f"application/{types[kind]}+json")

    def watch(self, url: str, **headers: str) -> Watch:
        answer = self.respond("GET", url, **headers)
        assert isinstance(answer, StreamResponse), answer
        return Watch(self, answer.stream)

    def _uid(self) -> str:
        return f"00000000-0000-0000-0000-{next(self._numbers):012}"

    def _suffix(self) -> str:
        return f"{next(self._numbers):05}"


class Watch:
    """A watch, read by hand."""

    def __init__(self, harness: Harness, stream: WatchStream) -> None:
        self.harness = harness
        self.stream = stream

    def events(self) -> list[Any]:
        """All events there are now."""
        found = []
        while lines := self.stream.read(self.harness.revisions, self.harness.now):
            found += [msgspec.json.decode(line) for line in lines.splitlines()]
        return found

    def seen(self) -> list[tuple[str, str]]:
        """(type, name) of all events there are now."""
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in self.events()]


def config_map(name: str, **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "nginx"}], **spec},
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], **spec},
    }


def deployment(name: str, replicas: int = 3) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def namespace(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
