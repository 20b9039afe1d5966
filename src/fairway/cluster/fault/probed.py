"""Whether a pod has the probe that a fault is to skew, as the API server has it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fairway.api.resources import PODS
from fairway.api.status import ApiError
from fairway.base.errors import Refused
from fairway.cluster.state import LabState
from fairway.watch.client import Client
from fairway.watch.kubeconfig import load_kubeconfig


def check_probed(state: LabState, pod: str, probe: str) -> None:
    """pod: NAME or NAMESPACE/NAME; probe: "readiness" or "liveness".

    Raises Refused where no container of it has the probe, which could not fail then; Retry without an API server. A
    pod that is none is left to the keeper, which knows what is near.
    """
    namespace, _, name = pod.rpartition("/")
    state.living()
    probes = asyncio.run(_probes(state, namespace, name))
    if probes is not None and f"{probe}Probe" not in probes:
        fields = [field.removesuffix("Probe") for field in ("readinessProbe", "livenessProbe") if field in probes]
        has = f"it has a {' and a '.join(fields)} probe" if fields else "it has none at all"
        raise Refused(f"pod {pod} has no {probe} probe that could fail: {has}")


async def _probes(state: LabState, namespace: str, name: str) -> frozenset[str] | None:
    """The fields of its containers; None for a pod that is none, or of which there are several."""
    async with Client(load_kubeconfig(state.kubeconfig)) as client:
        try:
            found = list((await client.list(PODS, namespace, field_selector=f"metadata.name={name}"))["items"])
        except ApiError as error:
            if error.code in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
                return None
            raise
    if len(found) != 1:
        return None
    spec = found[0]["spec"]
    return frozenset(field for each in (*spec["containers"], *spec.get("initContainers", ())) for field in each)
