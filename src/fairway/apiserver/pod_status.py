"""What a table says of a pod: its status in one word, what is ready, how often it restarted
(kubernetes `pkg/printers/internalversion/printers.go`: printPod)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairway.api.types import Object
from fairway.apiserver.durations import age

_NODE_LOST = "NodeLost"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSummary:
    """ready: "1/2". restarts: "3 (5s ago)"."""

    ready: str
    status: str
    restarts: str


def summarize(pod: Object, now: datetime) -> PodSummary:
    """The three columns."""
    spec, status = pod["spec"], pod.get("status") or {}
    sidecars = {c["name"] for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or []) + len(sidecars)
    reason = status.get("reason") or status.get("phase") or "Unknown"
    gated = any(c.get("reason") == "SchedulingGated" for c in _conditions(pod) if c.get("type") == "PodScheduled")
    if gated:
        reason = "SchedulingGated"
    init = _Initialization(status.get("initContainerStatuses") or [], sidecars, _init_count(spec))
    ready, restarts = init.ready, init.restarts
    if init.reason:
        reason = init.reason
    if not init.reason or _condition(pod, "Initialized") == "True":
        main = _Main(status.get("containerStatuses") or [])
        ready += main.ready
        restarts = main.restarts.plus(init.sidecar_restarts)
        reason = main.reason or reason
        # A pod does not show Completed while a container of it still runs.
        if reason == "Completed" and main.has_running:
            reason = "Running" if _condition(pod, "Ready") == "True" else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == _NODE_LOST:
            reason = "Unknown"
        elif status.get("phase") not in ("Failed", "Succeeded"):
            reason = "Terminating"
    return PodSummary(ready=f"{ready}/{total}", status=reason, restarts=restarts.text(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restarts:
    count: int = 0
    last: str = ""

    def plus(self, other: _Restarts) -> _Restarts:
        return _Restarts(count=self.count + other.count, last=max(self.last, other.last))

    def text(self, now: datetime) -> str:
        if self.count and self.last:
            return f"{self.count} ({age(self.last, now)} ago)"
        return str(self.count)


def _restarts(container: Object) -> _Restarts:
    finished = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
    return _Restarts(count=int(container.get("restartCount") or 0), last=finished)


class _Initialization:
    """Init containers: what holds the pod up, and the sidecars among them."""

    def __init__(self, statuses: list[Object], sidecars: set[str], total: int) -> None:
        self.ready = 0
        self.reason = ""
        self.restarts = _Restarts()
        self.sidecar_restarts = _Restarts()
        for index, container in enumerate(statuses):
            is_sidecar = container.get("name") in sidecars
            self.restarts = self.restarts.plus(_restarts(container))
            if is_sidecar:
                self.sidecar_restarts = self.sidecar_restarts.plus(_restarts(container))
            state = container.get("state") or {}
            terminated = state.get("terminated")
            if terminated is not None and terminated.get("exitCode", 0) == 0:
                continue
            if is_sidecar and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            self.reason = f"Init:{_held_by(state, index, total)}"
            break


def _held_by(state: Mapping[str, Any], index: int, total: int) -> str:
    terminated, waiting = state.get("terminated"), state.get("waiting") or {}
    if terminated is not None:
        if terminated.get("reason"):
            return str(terminated["reason"])
        signal = terminated.get("signal")
        return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"
    if waiting.get("reason") and waiting["reason"] != "PodInitializing":
        return str(waiting["reason"])
    return f"{index}/{total}"


def _init_count(spec: Object) -> int:
    return len(spec.get("initContainers") or [])


class _Main:
    """The pod's own containers; the first one's trouble names the pod's."""

    def __init__(self, statuses: list[Object]) -> None:
        self.ready = 0
        self.reason = ""
        self.has_running = False
        self.restarts = _Restarts()
        for container in reversed(statuses):
            self.restarts = self.restarts.plus(_restarts(container))
            self._look_at(container)

    def _look_at(self, container: Object) -> None:
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            self.reason = str(waiting["reason"])
        elif terminated is not None and terminated.get("reason"):
            self.reason = str(terminated["reason"])
        elif terminated is not None:
            signal = terminated.get("signal")
            self.reason = f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"
        elif container.get("ready") and state.get("running") is not None:
            self.has_running = True
            self.ready += 1


def _conditions(pod: Object) -> list[Object]:
    return list((pod.get("status") or {}).get("conditions") or [])


def _condition(pod: Object, kind: str) -> str:
    return next((str(c.get("status")) for c in _conditions(pod) if c.get("type") == kind), "")


def readiness_gates(pod: Object) -> str:
    """How many of the pod's own gates are open: "1/2"."""
    gates = pod["spec"].get("readinessGates") or []
    if not gates:
        return "<none>"
    true = sum(_condition(pod, gate["conditionType"]) == "True" for gate in gates)
    return f"{true}/{len(gates)}"
