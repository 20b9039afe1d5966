"""A lab brought up, found again, and taken down."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fairway.api.manifest import describe
from fairway.api.resources import BY_KIND, NODES, PODS
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.addresses import Family
from fairway.base.errors import Refused
from fairway.cluster import credentials, dnsservice, programs
from fairway.cluster.kubeadm import config_maps
from fairway.cluster.labs import Manifest, read_manifest
from fairway.cluster.scenario import Scenario
from fairway.cluster.state import LabRecord, LabState
from fairway.cluster.tools import check_programs
from fairway.fabric.init import end, start
from fairway.fabric.namespaces import check_support
from fairway.watch.client import Client
from fairway.watch.informer import Change, Informer

READY_LIMIT_S = 60.0
"""A lab takes a second or two; a machine that needs longer than this for it will not do."""

DOWN_LIMIT_S = 10.0
"""How long the lab's programs may take to end by themselves before the kernel ends them."""

_LAST_LINES = 3
_LOGS_TOLD = 5
_LINE_LENGTH = 300
"""What is told of the logs of a lab that did not come up: a lab of fifty nodes has a hundred of them."""

_LEADING_LOGS = ("init.log", "control-plane.log")
_LEVELS = (" ERROR ", " CRITICAL ", "Error")

_LOOPBACK = "127.0.0.1"

Report = Callable[[str], None]


def bring_up(state: LabState, scenario: Scenario, *, report: Report, api_port: int = 0) -> LabRecord:
    """Bring a lab up and return once its nodes are Ready and its first pods run.

    report: called with a line for each stage. api_port: on the host's loopback, 0 for a free one.
    Raises Refused for a lab of that name that is up, a port in use or a full disk, Unsupported for what the machine
    lacks; interrupted or failed, nothing is left.
    """
    with state.locked():
        state.check_free()
        problems = check_support(ipv6=Family.IPV6 in scenario.families)
        if problems:
            raise problems[0]
        for mode in {scenario.mode, *scenario.modes.values()}:
            check_programs(mode)
        with _listen(_LOOPBACK, api_port) as listener:
            try:
                state.create()
                return _bring_up(state, scenario.named(state.name), listener, report)
            except OSError as error:
                _unmake(state)
                raise Refused(
                    f"{error.filename or state.root}: {error.strerror or error}; nothing of the lab is left"
                ) from error
            except BaseException:
                _unmake(state)
                raise


def take_down(state: LabState) -> None:
    """End a lab and remove its folder. Raises Refused if there is none."""
    with state.locked():
        first = state.first_process()
        if first is None and not os.path.lexists(state.folder):
            state.living()
        if first is not None:
            state.adopt()
            end(*first, patience_s=DOWN_LIMIT_S)
        state.remove()  # also what a lab that was killed left on disk


def _unmake(state: LabState) -> None:
    """Leave nothing of a lab whose bringing up failed or was interrupted, however far it came."""
    if first := state.first_process():
        end(*first, patience_s=0)
    state.remove()


def _bring_up(state: LabState, scenario: Scenario, listener: socket.socket, report: Report) -> LabRecord:
    api = f"https://{_LOOPBACK}:{listener.getsockname()[1]}"
    credentials.write_all(state, scenario, api=api, now=datetime.now(UTC))
    try:
        started = start(
            scenario.topology,
            socket_path=state.socket,
            log_path=state.logs / "init.log",
            programs=programs.PROGRAMS,
            services=programs.services(state, scenario, listener),
            report=report,
            attached=True,
        )
    except Refused as error:
        raise Refused(_why_not_up(state, str(error))) from error
    try:
        asyncio.run(_until_ready(state, scenario, started.pid, report))
        record = LabRecord(
            name=state.name,
            pid=started.pid,
            start_time=started.start_time,
            api=api,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            clients={client.name: tuple(map(str, client.addresses)) for client in scenario.topology.clients},
            mode=scenario.mode,
            modes=dict(scenario.modes),
            families=tuple(family.api_name for family in scenario.families),
            images={image.name: image.path for image in scenario.images},
        )
        state.write_record(record)
        started.detach()
    except BaseException:
        end(started.pid, started.start_time, patience_s=0)
        raise
    return record


async def _until_ready(state: LabState, scenario: Scenario, first_process: int, report: Report) -> None:
    """Wait for the nodes, make the scenario's objects, wait for its pods.

    Raises Refused after READY_LIMIT_S, or as soon as the first process has ended.
    """
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(first_process)
    except ProcessLookupError:
        raise Refused(_why_not_up(state, "its first process has ended")) from None
    ended = asyncio.Event()
    try:
        async with asyncio.timeout(READY_LIMIT_S) as limit, Client(state.credentials()) as client:

            def give_up() -> None:
                loop.remove_reader(handle)
                ended.set()
                limit.reschedule(loop.time())

            loop.add_reader(handle, give_up)
            report("waiting for the nodes to be Ready")
            waited_for = "its nodes were not all Ready"
            await _until(client, NODES, lambda nodes: set(scenario.nodes) <= _ready_names(nodes))
            for body in _made(scenario):
                await _create(client, body)
            for manifest in map(read_manifest, scenario.manifests):
                await _apply(client, manifest)
            if wanted := set(scenario.bare_pods):  # without a pod there is never a change to look at
                report("waiting for the first pods to run")
                waited_for = f"its first pods ({', '.join(scenario.bare_pods)}) did not all run"
                await _until(client, PODS, lambda pods: wanted <= _ready_names(pods) | _ended_names(pods))
    except TimeoutError:
        why = "its first process has ended" if ended.is_set() else f"{waited_for} within {READY_LIMIT_S:.0f} s"
        raise Refused(_why_not_up(state, why)) from None
    finally:
        loop.remove_reader(handle)
        os.close(handle)


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


async def _apply(client: Client, manifest: Manifest) -> None:
    """Make a manifest's objects in its order. Raises Refused for one that the API server refuses."""
    for body in manifest.objects:
        try:
            await _create(client, body)
        except ApiError as error:
            what = f"{body['kind']} {describe(body)}"
            raise Refused(f"manifest {manifest.path}: {what}: {error}; nothing of the lab is left") from error


def _made(scenario: Scenario) -> list[Object]:
    """What a lab has from the beginning: how it was made, as kubeadm keeps it, and the way to its DNS."""
    topology = scenario.topology
    made = config_maps(
        mode=scenario.mode,
        pod_cidrs=[str(ranges.pod_cidr) for ranges in topology.ranges],
        service_cidrs=[str(ranges.service_cidr) for ranges in topology.ranges],
        domain=credentials.CLUSTER_DOMAIN,
    )
    return [*made, *dnsservice.objects(scenario)]


def _ended_names(pods: Sequence[Object]) -> set[str]:
    """Pods that ran to their end, and will not be Ready any more."""
    return {pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") in ("Succeeded", "Failed")}


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
            # strerror here says the address a second time.
            raise Refused(
                f"{address}:{port} cannot be listened on ({os.strerror(error.errno)}): "
                "choose another --api-port, or leave it out for a free one"
            ) from error
        raise


def _why_not_up(state: LabState, why: str) -> str:
    """With the last lines of some logs: their folder is gone when this is read."""
    logs = {log.name: log.read_text(errors="replace").splitlines() for log in state.logs.glob("*.log")}
    return "\n".join([f"lab {state.name!r} did not come up: {why}", *last_words(logs)])


def last_words(logs: Mapping[str, Sequence[str]]) -> list[str]:
    """The last lines of each log by its name, of many logs only of those that tell most.

    The first process and the control plane, on which all others wait, come first; then those by which something was
    wrong, and of nodes that say the same only the first.
    """
    told: list[str] = []
    heard = set[tuple[str, ...]]()

    def rank(name: str) -> tuple[int, bool, str]:
        leads = _LEADING_LOGS.index(name) if name in _LEADING_LOGS else len(_LEADING_LOGS)
        return leads, not any(level in line for line in logs[name][-_LAST_LINES:] for level in _LEVELS), name

    saying = [name for name in sorted(logs, key=rank) if logs[name]]
    for name in saying:
        said = [line[:_LINE_LENGTH] for line in logs[name][-_LAST_LINES:]]
        # Without the time at its beginning, a line of two nodes is the same.
        gist = tuple(line.partition(" ")[2].partition(" ")[2] for line in said)
        if len(heard) < _LOGS_TOLD and gist not in heard:
            heard.add(gist)
            told += [f"  {name}: {line}" for line in said]
    untold = len(saying) - len(heard)
    return [*told, f"  and {untold} more logs"] if untold else told
