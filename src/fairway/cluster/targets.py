"""What `exec` and `shell` run in, by the words people use: also a Service, which stands for one of its pods."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fairway.api.manifest import describe
from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.base.text import one_line
from fairway.cluster.state import LabState

_SERVICE = ("svc", "service", "services")
"""Before the slash, as kubectl takes a Service."""


def host_of(state: LabState, target: str) -> str:
    """The target as `hosts.find_host` takes it: a Service's pod as NAMESPACE/NAME, anything else as it is.

    Raises Refused for a Service that is not there or has no pod that runs; Retry where the API server does not answer.
    """
    kind, slash, name = target.partition("/")
    if not slash or kind not in _SERVICE:
        return target
    services, pods = asyncio.run(_read(state))
    return str(describe(pod_of_service(name, services, pods)))


async def _read(state: LabState) -> tuple[list[Object], list[Object]]:
    # A client costs a fifth of a second, and other targets need none.
    from fairway.api.resources import PODS, SERVICES
    from fairway.watch.client import Client
    from fairway.watch.kubeconfig import load_kubeconfig

    async with Client(load_kubeconfig(state.kubeconfig)) as client:
        return (await client.list(SERVICES))["items"], (await client.list(PODS))["items"]


def pod_of_service(name: str, services: Sequence[Object], pods: Sequence[Object]) -> Object:
    """The pod that is of most use among those a Service selects, as kubectl chooses one (`polymorphichelpers`,
    attachablePodForObject): one that is Ready, the longest ready first. Pure.

    name: NAME, or NAMESPACE/NAME. Raises Refused where there is no such Service, or no pod of it that runs.
    """
    service = _find(name, services)
    selector: Mapping[str, str] = (service.get("spec") or {}).get("selector") or {}
    if not selector:
        raise Refused(f"Service {describe(service)} selects no pods: it has no selector; name a pod")
    mine = [pod for pod in pods if _is_selected(pod, service, selector)]
    running = [pod for pod in mine if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        how = f"none of its {len(mine)} pods runs" if mine else "it has no pods"
        raise Refused(f"Service {describe(service)}: {how}; see `kubectl get pods`, or name another")
    return min(running, key=_usefulness)


def _find(name: str, services: Sequence[Object]) -> Object:
    found = [one for one in services if name in (describe(one), one["metadata"]["name"])]
    match found:
        case [one]:
            return one
        case []:
            known = [label for one in services for label in (one["metadata"]["name"], describe(one))]
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"did you mean svc/{near[0]}?" if near else "see `kubectl get services -A`"
            raise Refused(f"there is no Service {one_line(name)!r} in this lab; {hint}")
        case several:
            names = ", ".join(f"svc/{describe(one)}" for one in several)
            raise Refused(f"{name!r} is the name of several Services ({names}): say which")


def _is_selected(pod: Object, service: Object, selector: Mapping[str, str]) -> bool:
    metadata = pod["metadata"]
    labels: Mapping[str, str] = metadata.get("labels") or {}
    return bool(
        metadata.get("namespace") == service["metadata"].get("namespace") and selector.items() <= labels.items()
    )


def _usefulness(pod: Object) -> tuple[Any, ...]:
    """The best first: not on its way out, Ready, Ready for long, old (`podutils.ActivePods`)."""
    metadata = pod["metadata"]
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready: Object = next((one for one in conditions if one.get("type") == "Ready"), {})
    return (
        bool(metadata.get("deletionTimestamp")),
        ready.get("status") != "True",
        ready.get("lastTransitionTime") or "",
        metadata.get("creationTimestamp") or "",
        metadata["name"],
    )
