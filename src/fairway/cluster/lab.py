"""A lab brought up, found again, and taken down."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from fairway.api.resources import BY_KIND, NODES, PODS
from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.cluster import credentials, programs
from fairway.cluster.scenario import Scenario
from fairway.cluster.state import LabRecord, LabState
from fairway.fabric.init import end, start
from fairway.fabric.namespaces import check_support
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer
from fairway.watch.kubeconfig import load_kubeconfig

READY_LIMIT_S = 60.0
"""A lab takes a second or two; a machine that needs longer than this for it will not do."""

DOWN_LIMIT_S = 10.0
"""How long the lab's programs may take to end by themselves before the kernel ends them."""

_LOOPBACK = "127.0.0.1"

Report = Callable[[str], None]


def bring_up(state: LabState, scenario: Scenario, *, report: Report, api_port: int = 0) -> LabRecord:
    """Bring a lab up and return once its nodes are Ready and its first pods run.

    report: called with a line for each stage. api_port: on the host's loopback, 0 for a free one. Raises Refused for a
    lab of that name that is up or a port in use, Unsupported for what the machine lacks; interrupted or failed, nothing
    is left.
    """
    with state.locked():
        if state.record():
            raise Refused(
                f"lab {state.name!r} is up already; use it, or take it down: fairway down --name {state.name}"
            )
        problems = check_support()
        if problems:
            raise problems[0]
        with _listen(_LOOPBACK, api_port) as listener:
            try:
                state.create()
                return _bring_up(state, scenario.named(state.name), listener, report)
            except BaseException:
                state.remove()
                raise


def take_down(state: LabState) -> None:
    """End a lab and remove its folder. Raises Refused if there is none."""
    with state.locked():
        record = state.record()
        if record is None:
            if not state.folder.exists():
                state.living()
            state.remove()  # what a lab that was killed left on disk
            return
        end(record.pid, record.start_time, patience_s=DOWN_LIMIT_S)
        state.remove()


def _bring_up(state: LabState, scenario: Scenario, listener: socket.socket, report: Report) -> LabRecord:
    api = f"https://{_LOOPBACK}:{listener.getsockname()[1]}"
    credentials.write_all(state, scenario, api=api, now=datetime.now(UTC))
    started = start(
        scenario.topology,
        socket_path=state.socket,
        log_path=state.logs / "init.log",
        programs=programs.PROGRAMS,
        services=programs.services(state, scenario, listener),
        report=report,
        attached=True,
    )
    try:
        asyncio.run(_until_ready(state, scenario, report))
        record = LabRecord(
            name=state.name,
            pid=started.pid,
            start_time=started.start_time,
            api=api,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        state.write_record(record)
    except BaseException:
        end(started.pid, started.start_time, patience_s=0)
        raise
    started.detach()
    return record


async def _until_ready(state: LabState, scenario: Scenario, report: Report) -> None:
    """Wait for the nodes, make the scenario's objects, wait for its pods. Raises Refused after READY_LIMIT_S."""
    try:
        async with asyncio.timeout(READY_LIMIT_S), Client(load_kubeconfig(state.kubeconfig)) as client:
            report("waiting for the nodes to be Ready")
            await _until(client, NODES, lambda nodes: set(scenario.nodes) <= _ready_names(nodes))
            for body in _documents(scenario):
                await _create(client, body)
            report("waiting for the first pods to run")
            await _until(client, PODS, lambda pods: set(scenario.bare_pods) <= _ready_names(pods))
    except TimeoutError:
        raise Refused(
            f"the lab was not ready after {READY_LIMIT_S:.0f} s; its logs said:\n{_last_words(state)}"
        ) from None


async def _until(client: Client, resource: Any, satisfied: Callable[[Sequence[Object]], bool]) -> None:
    """Watch a resource until its objects satisfy."""
    enough = asyncio.Event()

    def look(change: Change[Object]) -> None:
        if satisfied(list(informer.objects.values())):
            enough.set()

    informer: Informer[Object] = Informer(client, resource, on_change=look)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(informer.run())
        await enough.wait()
        running.cancel()


async def _create(client: Client, body: Object) -> None:
    resource = BY_KIND[body["apiVersion"], body["kind"]]
    namespace = body["metadata"].get("namespace", "default") if resource.namespaced else ""
    await client.create(resource, body, namespace)


def _documents(scenario: Scenario) -> list[Object]:
    return [body for path in scenario.manifests for body in yaml.safe_load_all(path.read_text())]


def _ready_names(objects: Sequence[Object]) -> set[str]:
    return {
        obj["metadata"]["name"]
        for obj in objects
        for condition in obj.get("status", {}).get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _listen(address: str, port: int) -> socket.socket:
    """A listening socket of this network namespace. Raises Refused if the port is taken."""
    try:
        return socket.create_server((address, port), backlog=128)
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise Refused(
                f"{address}:{port} cannot be listened on ({error.strerror}): "
                "choose another --api-port, or leave it out for a free one"
            ) from error
        raise


def _last_words(state: LabState) -> str:
    """The last lines of each log, for the one who reads the error."""
    parts = []
    for log in sorted(state.logs.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-3:]
        parts += [f"  {log.name}: {line}" for line in lines]
    return "\n".join(parts) or "  nothing"
