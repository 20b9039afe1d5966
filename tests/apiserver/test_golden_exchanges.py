"""Every recorded exchange with a real API server, replayed: the same requests get the same answers.

`tests/golden/api/exchanges.json` holds scenes of requests to kube-apiserver 1.36.2 and its answers; what changes from
run to run stands there as `<placeholder>`.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fairway.api.resources import BY_KIND, RESOURCES
from fairway.api.status import ApiError
from fairway.apiserver.allocators import ServiceAllocator
from fairway.apiserver.handlers import handle
from fairway.apiserver.http import warning_header
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.ranges import PortRange
from fairway.apiserver.registry import Registry, create
from fairway.apiserver.representation import error_response
from fairway.apiserver.request import Request, Response, User
from fairway.apiserver.revisions import Revisions
from fairway.apiserver.routes import NoRouteError

SCENES: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "api" / "exchanges.json").read_text()
)["scenes"]

LEFT_OUT = {"server-side-apply": "server-side apply is not in this release"}
"""Scenes that are not replayed, and why."""

NOT_SERVED = re.compile("/statefulsets$")
"""Exchanges about kinds that are not served, which are left out of their scenes."""

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
USER = User(name="admin", groups=("system:masters",))


class Server:
    """The server without HTTP and disk, with what the recorded one had before the first scene."""

    def __init__(self) -> None:
        networks = [ip_network("10.200.1.0/24"), ip_network("fd00:10:200::/112")]
        rng = random.Random(1)
        self.registry = Registry(
            revisions=Revisions(),
            strategy_for=strategy_for,
            new_allocator=lambda: ServiceAllocator(networks=networks, node_ports=PortRange(), rng=rng),
        )
        self._count = itertools.count(1)

    def around(self, age: timedelta = timedelta()) -> Surroundings:
        return Surroundings(
            now=NOW - age,
            new_uid=lambda: f"00000000-0000-0000-0000-{next(self._count):012}",
            new_suffix=lambda: f"{next(self._count):05}",
        )

    def seed(self, obj: dict[str, Any], age: timedelta = timedelta(minutes=39)) -> None:
        resource = BY_KIND[obj["apiVersion"], obj["kind"]]
        decoded, _ = strategy_for(resource).decode(obj)
        namespace = obj["metadata"].get("namespace", "default") if resource.namespaced else ""
        create(self.registry, resource, namespace, decoded, self.around(age))
        self._publish()

    def answer(self, request: dict[str, Any]) -> Response:
        url = urlsplit(request["path"])
        body = request.get("body", b"")
        asked = Request(
            method=request["method"],
            path=url.path,
            query={name: tuple(values) for name, values in parse_qs(url.query, keep_blank_values=True).items()},
            content_type=request.get("contentType", ""),
            accept=request.get("accept", "application/json"),
            body=body.encode() if isinstance(body, str) else json.dumps(body).encode() if "body" in request else b"",
            user=USER,
        )
        try:
            answer = handle(self.registry, asked, self.around(), watch_timeout_s=60)
        except ApiError as error:
            answer = error_response(error)
        except NoRouteError:
            answer = Response(code=404, body=b"404 page not found\n", content_type="text/plain")
        assert isinstance(answer, Response)
        self._publish()
        return answer

    def _publish(self) -> None:
        self.registry.revisions.publish(self.registry.revisions.accepted)


def node(name: str, address: str, zone: str) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def endpoint_slice(name: str, service: str, addresses: list[str], port: int) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": port}],
    }


KUBERNETES = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
    "spec": {
        "clusterIP": "10.200.1.1",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
    },
}


@pytest.fixture
def server() -> Server:
    made = Server()
    for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
        made.seed({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cidrs = ["10.200.1.0/24", "fd00:10:200::/112"]
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"}
    made.seed({**kind, "metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}})
    made.seed(KUBERNETES)
    return made


def seed_tables(server: Server) -> None:
    """What the recorded cluster had when its tables were asked for."""
    for name, address, zone in (
        ("myk8s-control-plane", "172.18.0.3", "zone-a"),
        ("myk8s-worker", "172.18.0.5", "zone-a"),
        ("myk8s-worker2", "172.18.0.2", "zone-b"),
        ("myk8s-worker3", "172.18.0.4", "zone-c"),
    ):
        server.seed(node(name, address, zone), timedelta(minutes=37))
    server.seed({**SCENES["pod"][-1]["request"]["body"]}, timedelta())
    server.seed(endpoint_slice("kubernetes", "kubernetes", ["172.18.0.5"], 6443))
    server.seed(
        endpoint_slice("svc-clusterip-abcde", "svc-clusterip", ["10.10.1.2", "10.10.2.2"], 80), timedelta(minutes=32)
    )
    server.seed(
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": "172.18.0.5"}], "ports": [{"name": "https", "port": 6443}]}],
        }
    )
    for exchange in SCENES["tables"]:
        path, rows = exchange["request"]["path"], exchange["response"]["body"].get("rows", [])
        if path.endswith("/leases"):
            for row in rows:
                spec = {"holderIdentity": row["cells"][1]}
                metadata = row["object"]["metadata"]
                kept = {name: metadata[name] for name in ("name", "namespace", "labels", "annotations")}
                server.seed({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": kept, "spec": spec})
        if path.endswith("/events"):
            for row in rows:
                server.seed(event_of(row))


def event_of(row: dict[str, Any]) -> dict[str, Any]:
    """An event that is printed as a recorded row."""
    last, kind, reason, involved, _, source, message, first, count, name = row["cells"]
    units = {"s": "seconds", "m": "minutes"}
    first_at, last_at = (NOW - timedelta(**{units[text[-1]]: int(text[:-1])}) for text in (first, last))
    what, _, who = involved.partition("/")
    component, _, host = source.partition(", ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {"kind": what.capitalize(), "name": who, "namespace": "default"},
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": component, "host": host},
        "firstTimestamp": first_at.isoformat(),
        "lastTimestamp": last_at.isoformat(),
        "count": count,
    }


def differences(seen: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Where an answer is not the recorded one; a placeholder stands for any value of its kind."""
    if isinstance(wanted, str) and isinstance(seen, str | int) and matches(str(seen), wanted):
        return
    if isinstance(wanted, dict) and isinstance(seen, dict):
        for name in wanted.keys() | seen.keys():
            if name not in wanted or name not in seen:
                where = "not recorded" if name not in wanted else "missing"
                yield f"{path}.{name}: {where}: {seen.get(name)!r} {wanted.get(name)!r}"
            else:
                yield from differences(seen[name], wanted[name], f"{path}.{name}")
    elif isinstance(wanted, list) and isinstance(seen, list) and len(wanted) == len(seen):
        for index, (one, other) in enumerate(zip(seen, wanted, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif seen != wanted or type(seen) is not type(wanted):
        yield f"{path}: {seen!r}, recorded {wanted!r}"


PLACEHOLDERS = {
    "<uid>": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<resourceVersion>": r"[1-9]\d*",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "<allocated>": r"[1-9]\d{4}|[0-9a-f:.]+",
    "<random>": r"[a-z0-9]{5}",
    "<continue>": r"[\w-]+=*",
}


def matches(seen: str, wanted: str) -> bool:
    """Whether a text is a recorded one, placeholders and addresses that were chosen at random aside."""
    pattern = re.escape(stable(wanted))
    for placeholder, form in PLACEHOLDERS.items():
        pattern = pattern.replace(re.escape(placeholder), f"(?:{form})")
    return re.fullmatch(pattern, stable(seen), re.DOTALL) is not None


def stable(text: str) -> str:
    """A text without what no placeholder stands for: free addresses, and the dump of an object in a patch's error."""
    text = re.sub(r'IPAddress\.networking\.k8s\.io "10\.200\.1\.\d+"', "IPAddress of a free address", text)
    dumped = re.match(r'^((?: "" is invalid: patch: )?Invalid value: )("(?:[^"\\]|\\.)*")(: json: .*)$', text)
    if dumped is None:
        return text
    obj = json.loads(json.loads(dumped.group(2)))
    # Managed fields are not kept in this release.
    for name in ("managedFields", "uid", "resourceVersion", "creationTimestamp"):
        obj["metadata"].pop(name, None)
    return dumped.group(1) + json.dumps(obj, sort_keys=True) + dumped.group(3)


@pytest.mark.parametrize("scene", [name for name in SCENES if name not in LEFT_OUT])
def test_a_recorded_scene_gets_the_recorded_answers(scene: str, server: Server) -> None:
    if scene == "tables":
        seed_tables(server)
    wrong = []
    for number, exchange in enumerate(SCENES[scene]):
        request, wanted = exchange["request"], exchange["response"]
        if NOT_SERVED.search(urlsplit(request["path"]).path):
            continue
        answer = server.answer(request)
        is_json = answer.content_type.startswith("application/json")
        body = json.loads(answer.body) if is_json else answer.body.decode()
        expected = wanted["body"]
        if scene == "tables" and request["path"].endswith("/services/u1") and request["method"] == "GET":
            # The recorded cell is the address that was given out then.
            expected["rows"][0]["cells"][2] = "<allocated>"
        warnings = [warning_header(text) for text in answer.warnings]
        seen = {"code": answer.code, "body": body, "warnings": warnings}
        found = differences(seen, {"code": wanted["code"], "body": expected, "warnings": wanted.get("warnings", [])})
        wrong += [f"{number} {request['method']} {request['path']} {text}" for text in found]
    assert wrong == []


def test_all_scenes_but_those_left_out_are_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    exchanges = {name: len(scene) for name, scene in SCENES.items()}
    skipped = [
        exchange["request"]["path"]
        for name, scene in SCENES.items()
        if name not in LEFT_OUT
        for exchange in scene
        if NOT_SERVED.search(urlsplit(exchange["request"]["path"]).path)
    ]
    replayed = sum(count for name, count in exchanges.items() if name not in LEFT_OUT) - len(skipped)
    with capsys.disabled():
        print(
            f"\n{replayed} of {sum(exchanges.values())} recorded exchanges replayed, in {len(SCENES) - len(LEFT_OUT)}"
        )
        print(f"of {len(SCENES)} scenes; left out: {LEFT_OUT}, kinds not served: {skipped}")
    assert (len(SCENES), len(LEFT_OUT), len(skipped)) == (21, 1, 1)
    assert not any(NOT_SERVED.search(resource.path()) for resource in RESOURCES)
