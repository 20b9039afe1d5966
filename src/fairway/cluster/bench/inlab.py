"""A lab that is up, for the figures taken in it, and the objects they are taken of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fairway.api.types import Object
from fairway.cluster.bench.podwatch import Pods, followed_pods
from fairway.cluster.bench.record import Say
from fairway.cluster.demo import lab_kubectl
from fairway.cluster.hosts import LabHosts
from fairway.cluster.scenario import Scenario
from fairway.cluster.state import LabState
from fairway.cluster.walk.stage import KubectlLike
from fairway.watch.client import Client

ECHO: Mapping[str, Any] = {"name": "web", "image": "mendhak/http-https-echo"}
"""A container of the study's server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InLab:
    """What figures of a lab that is up are taken with."""

    scenario: Scenario
    client: Client
    hosts: LabHosts
    pods: Pods
    kubectl: KubectlLike
    say: Say


@asynccontextmanager
async def in_lab(state: LabState, scenario: Scenario, say: Say) -> AsyncIterator[InLab]:
    """Connect to a lab for the time of the block."""
    async with (
        Client(state.credentials()) as client,
        LabHosts.connect(state) as hosts,
        lab_kubectl(state, say) as kubectl,
        followed_pods(client) as pods,
    ):
        yield InLab(scenario=scenario, client=client, hosts=hosts, pods=pods, kubectl=kubectl, say=say)


def deployment(app: str, replicas: int, container: Mapping[str, Any], *, grace_s: int) -> Object:
    """Of pods with one container and the label `app`."""
    labels = {"app": app}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": grace_s, "containers": [container]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def node_port_service(app: str) -> Object:
    """Of type NodePort, port 80 to the pods' 8080."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app},
        "spec": {"type": "NodePort", "selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
