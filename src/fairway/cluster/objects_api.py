"""What is read of a cluster over its API."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path

from fairway.api.resources import CONFIG_MAPS, ENDPOINT_SLICES, NODES, PODS, SERVICE_CIDRS, SERVICES, Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.cluster.kubeadm import KUBE_SYSTEM, PUBLISHED
from fairway.watch.client import Client
from fairway.watch.kubeconfig import load_kubeconfig

READ = (SERVICES, ENDPOINT_SLICES, NODES, PODS, SERVICE_CIDRS)
"""Besides the ConfigMaps in which kubeadm keeps how the cluster was made."""


def list_objects(kubeconfig: Path) -> list[Object]:
    """All of them now. Raises Refused for the kubeconfig, ApiError and Retry as Client does."""
    return asyncio.run(_list_all(kubeconfig))


async def _list_all(kubeconfig: Path) -> list[Object]:
    async with Client(load_kubeconfig(kubeconfig)) as client:
        objects: list[Object] = []
        for resource in READ:
            objects += await _list(client, resource)
        for name in PUBLISHED:
            try:
                objects.append(await client.get(CONFIG_MAPS, name, KUBE_SYSTEM))
            except ApiError as error:
                if error.code not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                    raise
        return objects


async def _list(client: Client, resource: Resource) -> list[Object]:
    """Nothing where the server does not have the kind."""
    try:
        return list((await client.list(resource))["items"])
    except ApiError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return []
        raise
