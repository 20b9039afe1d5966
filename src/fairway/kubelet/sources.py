"""ConfigMaps and Secrets that a pod refers to, read from the API when a container needs them."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from fairway.api.resources import CONFIG_MAPS, SECRETS, Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.kubelet.pod import ContainerSpec
from fairway.kubelet.volume import SourceKind
from fairway.watch.client import Client

_RESOURCES: dict[SourceKind, Resource] = {SourceKind.CONFIG_MAP: CONFIG_MAPS, SourceKind.SECRET: SECRETS}


def wanted_by(container: ContainerSpec) -> frozenset[tuple[SourceKind, str]]:
    """Kind and name of the objects that a container's environment needs."""
    keys = {(source.kind, source.name) for variable in container.env if (source := variable.source) is not None}
    return frozenset(keys | {(source.kind, source.name) for source in container.env_from})


async def read_sources(
    client: Client, namespace: str, wanted: Iterable[tuple[SourceKind, str]]
) -> dict[tuple[SourceKind, str], dict[str, bytes]]:
    """The values of those that are there. Raises ApiError or Retry when the API server does not say."""
    found = {}
    for kind, name in sorted(wanted):
        try:
            found[kind, name] = values_of(await client.get(_RESOURCES[kind], name, namespace))
        except ApiError as error:
            if error.code != 404:
                raise
    return found


def values_of(obj: Object) -> dict[str, bytes]:
    """The values of a ConfigMap or Secret by key, in the order of the keys."""
    data = obj.get("data") or {}
    if obj["kind"] == SourceKind.SECRET:
        values = {key: base64.b64decode(value or "") for key, value in data.items()}
    else:
        values = {key: value.encode() for key, value in data.items()}
        values |= {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return dict(sorted(values.items()))
