"""Which kubelet a request for a pod's log or for exec goes to, and what the kubelet is asked. No I/O.

Facts: `pkg/registry/core/pod/strategy.go` (LogLocation, ExecLocation, validateContainer), `pkg/apis/core/validation`
(ValidatePodLogOptions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fairway.api.resources import NODES, PODS, Resource
from fairway.api.status import ApiError, Cause
from fairway.api.types import Key, Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.options import parse_integer
from fairway.apiserver.request import Request
from fairway.apiserver.revisions import Revisions
from fairway.apiserver.routes import Target
from fairway.apiserver.strategy import invalid

DEFAULT_KUBELET_PORT = 10250

_LOG_OPTIONS = Resource(kind="PodLogOptions", plural="podlogoptions")
_LOG_FLAGS = ("follow", "previous", "timestamps")
_EXEC_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
"""The API's names, and the kubelet's (`pkg/kubelet/server/remotecommand`, `kubelet/pkg/cri/streaming`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A URL of a kubelet, relative to its root."""

    host: str
    port: int
    path: str
    query: Sequence[tuple[str, str]]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"https://{host}:{self.port}{self.path}{query}"


def log_location(revisions: Revisions, target: Target, request: Request) -> Location | None:
    """Where a pod's log is; None where the pod is on no node yet, whose log is empty.

    Raises ApiError 400 for a container that is not there, 404 for the pod or its node, 422 for bad options.
    """
    query = _log_query(target, request)
    pod = _pod(revisions, target)
    container = _container(pod, request.first("container"))
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        return None
    host, port = _kubelet(revisions, node)
    path = f"/containerLogs/{target.namespace}/{target.name}/{container}"
    return Location(host=host, port=port, path=path, query=query)


def exec_location(revisions: Revisions, target: Target, request: Request) -> Location:
    """Where a command in a pod is started.

    Raises ApiError 400 for a container that is not there, a missing command or a pod on no node, 404 for the pod or
    its node.
    """
    pod = _pod(revisions, target)
    container = _container(pod, request.first("container"))
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise ApiError(400, "BadRequest", f"pod {target.name} does not have a host assigned")
    wanted = [(kubelet, "1") for name, kubelet in _EXEC_FLAGS.items() if _is_true(request, name)]
    if not any(name != "tty" for name, _ in wanted):
        raise ApiError(400, "BadRequest", "you must specify at least one of stdin, stdout, stderr")
    commands = [("command", part) for part in request.query.get("command", ())]
    if not commands:
        raise ApiError(400, "BadRequest", "you must specify at least one command for the container")
    host, port = _kubelet(revisions, node)
    path = f"/exec/{target.namespace}/{target.name}/{container}"
    return Location(host=host, port=port, path=path, query=[*wanted, *commands])


def _pod(revisions: Revisions, target: Target) -> Object:
    record = revisions.get(PODS, target.key)
    if record is None:
        raise meta.not_found(PODS, target.name)
    return record.obj


def _container(pod: Object, wanted: str) -> str:
    """The container asked for, or the only one."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    containers = [one["name"] for one in spec.get("containers") or ()]
    init = [one["name"] for one in spec.get("initContainers") or ()]
    others = [one["name"] for one in spec.get("ephemeralContainers") or ()]
    if not wanted:
        if len(containers) == 1:
            return str(containers[0])
        choice = f"choose one of: [{' '.join(containers)}]"
        if init:
            choice += f" or one of the init containers: [{' '.join(init)}]"
        raise ApiError(400, "BadRequest", f"a container name must be specified for pod {name}, {choice}")
    if wanted not in (*containers, *init, *others):
        raise ApiError(400, "BadRequest", f"container {wanted} is not valid for pod {name}")
    return wanted


def _kubelet(revisions: Revisions, name: str) -> tuple[str, int]:
    node = revisions.get(NODES, Key("", name))
    if node is None:
        raise meta.not_found(NODES, name)
    status = node.obj.get("status") or {}
    addresses: Mapping[str, str] = {one["type"]: one["address"] for one in reversed(status.get("addresses") or ())}
    host = addresses.get("InternalIP")
    if host is None:
        reason = f"no preferred addresses found; known addresses: {sorted(addresses.values())}"
        raise ApiError(500, "InternalError", f"Internal error occurred: {reason}")
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    return host, int(endpoint.get("Port") or DEFAULT_KUBELET_PORT)


def _log_query(target: Target, request: Request) -> list[tuple[str, str]]:
    query = [(name, "true") for name in _LOG_FLAGS if _is_true(request, name)]
    causes: list[Cause] = []
    for name, least in (("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)):
        text = request.first(name)
        if not text:
            continue
        value = parse_integer(text)
        if value < least:
            rule = "must be greater than or equal to 0" if least == 0 else "must be greater than 0"
            message = f"Invalid value: {value}: {rule}"
            causes.append(Cause(reason="FieldValueInvalid", message=message, field=name))
        query.append((name, str(value)))
    since = request.first("sinceTime")
    if since:
        query.append(("sinceTime", since))
        if request.first("sinceSeconds"):
            message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append(Cause(reason="FieldValueForbidden", message=message, field="sinceTime"))
    if causes:
        raise invalid(_LOG_OPTIONS, target.name, causes)
    return query


def _is_true(request: Request, name: str) -> bool:
    values = request.query.get(name, ())
    return bool(values) and values[0].lower() != "false" and values[0] != "0"
