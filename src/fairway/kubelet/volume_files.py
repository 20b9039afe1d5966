"""What is in a volume: its files from the objects it refers to. Pure.

Rules and texts of the kubelet's volume plugins (`pkg/volume/{configmap,secret,downwardapi,projected}`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairway.api.types import Object
from fairway.base.errors import Refused
from fairway.kubelet.environment import Sources, expand, field_value
from fairway.kubelet.pod import ContainerSpec, PodSpec
from fairway.kubelet.resource_fields import resource_value
from fairway.kubelet.volume import FieldSource, SourceKind, TokenSource, ValuesSource, Volume, VolumeMount


class MountError(Refused):
    """A volume cannot be made, or a part of it cannot be mounted; the text is the kubelet's."""


@dataclass(frozen=True, slots=True)
class File:
    """mode: permissions."""

    data: bytes
    mode: int


Tokens = Mapping[TokenSource, str]
"""Those that were to be had, by what asks for them."""


def volume_files(
    volume: Volume,
    pod: Object,
    *,
    sources: Sources,
    tokens: Tokens,
    addresses: Sequence[str],
    allocatable: Mapping[str, str],
) -> dict[str, File]:
    """The files of a volume by their paths in it; of two with one path the later one.

    sources: the ConfigMaps and Secrets that are there. addresses: the node's, the primary one first. allocatable: what
    it has, quantities by resource. Raises MountError with what is not there and not optional.
    """
    files: dict[str, File] = {}
    problems: list[str] = []
    for source in volume.sources or ():
        try:
            match source:
                case ValuesSource():
                    files |= _of_values(source, sources, volume.mode)
                case FieldSource():
                    text = _field(pod, source, addresses, allocatable)
                    files[source.path] = File(text.encode(), volume.mode if source.mode is None else source.mode)
                case TokenSource():
                    files[source.path] = File(tokens[source].encode(), volume.mode)
        except MountError as error:
            problems.append(str(error))
    problems += [f"invalid path {path!r}: it leads out of the volume" for path in files if not is_inside(path)]
    if problems:
        raise MountError(problems[0] if len(problems) == 1 else f"[{', '.join(dict.fromkeys(problems))}]")
    return files


def is_inside(path: str) -> bool:
    """Whether a relative path stays in its volume and is no name of the writer's own (`atomic_writer.go`)."""
    return bool(path) and not path.startswith(("/", "..")) and ".." not in path.split("/") and "\0" not in path


def _of_values(source: ValuesSource, sources: Sources, mode: int) -> dict[str, File]:
    found = sources.get((source.kind, source.name))
    if found is None:
        if source.optional:
            return {}
        raise MountError(f'{source.kind.lower()} "{source.name}" not found')
    if not source.items:
        return {key: File(value, mode) for key, value in found.items()}
    files = {}
    for item in source.items:
        if item.key in found:
            files[item.path] = File(found[item.key], mode if item.mode is None else item.mode)
        elif not source.optional:
            raise MountError(f"{_NO_KEY[source.kind]}: {item.key}")
    return files


_NO_KEY = {
    SourceKind.CONFIG_MAP: "configmap references non-existent config key",
    SourceKind.SECRET: "references non-existent secret key",
}


def _field(pod: Object, source: FieldSource, addresses: Sequence[str], allocatable: Mapping[str, str]) -> str:
    """Of labels and annotations also the whole map, a line each (`pkg/fieldpath`, FormatMap)."""
    if source.resource is not None:
        return resource_value(pod, source.resource, container="", allocatable=allocatable)
    path = source.field_path
    if path in ("metadata.labels", "metadata.annotations"):
        values = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(values.items()))
    return field_value(pod, path, pod_ips=[""], host_ips=addresses)


def wanted_values(pod: PodSpec) -> Iterator[ValuesSource]:
    """The ConfigMaps and Secrets in a pod's volumes."""
    for volume in pod.volumes:
        yield from (source for source in volume.sources or () if isinstance(source, ValuesSource))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A mount settled: source is a path among the pod's volumes, `NAME` or `NAME/SUB/PATH`."""

    source: str
    target: str
    read_only: bool


def places(container: ContainerSpec, pod: PodSpec, environment: Mapping[str, str]) -> list[Place]:
    """Where a container's volumes go. Whatever has sources is the kubelet's to write, and read-only.

    Raises MountError for a part that leads out of its volume.
    """
    written = {volume.name for volume in pod.volumes if volume.sources is not None}
    return [
        Place(
            source="/".join(part for part in (mount.volume, _sub_path(mount, environment)) if part),
            target=mount.path if mount.path.startswith("/") else f"/{mount.path}",
            read_only=mount.read_only or mount.volume in written,
        )
        for mount in container.mounts
    ]


def _sub_path(mount: VolumeMount, environment: Mapping[str, str]) -> str:
    part = expand(mount.sub_path_expr, environment) if mount.sub_path_expr else mount.sub_path
    if "$(" in part and mount.sub_path_expr:
        raise MountError(f'failed to prepare subPath for volumeMount "{mount.volume}": missing value in "{part}"')
    if part and (part.startswith("/") or ".." in part.split("/")):
        raise MountError(f'failed to prepare subPath for volumeMount "{mount.volume}": "{part}" leads out of it')
    return part.strip("/")
