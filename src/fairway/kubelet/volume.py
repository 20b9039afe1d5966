"""The volumes a pod asks for and where its containers want them, parsed once from its object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fairway.kubelet.resource_fields import ResourceField, parse_resource_field

DEFAULT_MODE = 0o644
DEFAULT_TOKEN_S = 3600
"""Of files, and of tokens, as the API server fills them in (`pkg/apis/core/v1/defaults.go`)."""


class SourceKind(StrEnum):
    """What values come from; the value is the object's kind."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105 - a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One key and the file it becomes; mode: permissions, None for the volume's."""

    key: str
    path: str
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuesSource:
    """Keys of a ConfigMap or Secret as files: those of `items`, all where there are none."""

    kind: SourceKind
    name: str
    items: tuple[Item, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSource:
    """A field of the pod as a file, or with `resource` what a container of it may use."""

    path: str
    field_path: str = ""
    resource: ResourceField | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource:
    """A token of the pod's service account as a file. audience: "" for the API server's own."""

    path: str
    audience: str = ""
    expiration_s: int = DEFAULT_TOKEN_S


Source = ValuesSource | FieldSource | TokenSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume; without sources it is an emptyDir, which containers may write."""

    name: str
    sources: tuple[Source, ...] | None = None
    mode: int = DEFAULT_MODE


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """Where a container wants a volume, or a part of it. sub_path_expr: the part, with variables of the container."""

    volume: str
    path: str
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""


def parse_volumes(spec: Mapping[str, Any]) -> tuple[Volume, ...]:
    """Those of a pod's spec that the lab has (`lacking.unsupported` names the others)."""
    found = (_volume(volume) for volume in spec.get("volumes") or ())
    return tuple(volume for volume in found if volume is not None)


def parse_mounts(container: Mapping[str, Any]) -> tuple[VolumeMount, ...]:
    """A container's volumeMounts."""
    return tuple(
        VolumeMount(
            volume=mount["name"],
            path=mount["mountPath"],
            read_only=bool(mount.get("readOnly")),
            sub_path=mount.get("subPath") or "",
            sub_path_expr=mount.get("subPathExpr") or "",
        )
        for mount in container.get("volumeMounts") or ()
    )


def _volume(volume: Mapping[str, Any]) -> Volume | None:
    name = volume["name"]
    if set(volume) == {"name"} or volume.get("emptyDir") is not None:
        return Volume(name=name)
    if "projected" in volume:
        projected = volume["projected"] or {}
        sources = [one for source in projected.get("sources") or () for one in _sources(source)]
        return Volume(name=name, sources=tuple(sources), mode=_mode(projected))
    for kind in ("configMap", "secret", "downwardAPI"):
        if kind in volume:
            given = volume[kind] or {}
            return Volume(name=name, sources=tuple(_PARSERS[kind](given)), mode=_mode(given))
    return None


def _mode(given: Mapping[str, Any]) -> int:
    mode = given.get("defaultMode")
    return DEFAULT_MODE if mode is None else int(mode)


def _sources(projection: Mapping[str, Any]) -> list[Source]:
    return [one for kind, given in projection.items() if kind in _PARSERS for one in _PARSERS[kind](given or {})]


def _config_map(given: Mapping[str, Any]) -> Sequence[Source]:
    return [_values(SourceKind.CONFIG_MAP, given.get("name") or "", given)]


def _secret(given: Mapping[str, Any]) -> Sequence[Source]:
    """Of a volume of its own the name is `secretName`, of a projected one `name`."""
    return [_values(SourceKind.SECRET, given.get("secretName") or given.get("name") or "", given)]


def _values(kind: SourceKind, name: str, given: Mapping[str, Any]) -> ValuesSource:
    items = (Item(key=item["key"], path=item["path"], mode=item.get("mode")) for item in given.get("items") or ())
    return ValuesSource(kind=kind, name=name, items=tuple(items), optional=bool(given.get("optional")))


def _downward(given: Mapping[str, Any]) -> Sequence[Source]:
    return [
        FieldSource(
            path=item["path"],
            field_path=(item.get("fieldRef") or {}).get("fieldPath") or "",
            resource=parse_resource_field(item),
            mode=item.get("mode"),
        )
        for item in given.get("items") or ()
    ]


def _token(given: Mapping[str, Any]) -> Sequence[Source]:
    return [
        TokenSource(
            path=given.get("path") or "",
            audience=given.get("audience") or "",
            expiration_s=int(given.get("expirationSeconds") or DEFAULT_TOKEN_S),
        )
    ]


_PARSERS: dict[str, Callable[[Mapping[str, Any]], Sequence[Source]]] = {
    "configMap": _config_map,
    "secret": _secret,
    "downwardAPI": _downward,
    "serviceAccountToken": _token,
}
"""Of the sources of a projected volume; all but the token are volumes of their own as well."""

VOLUME_KINDS = ("emptyDir", "configMap", "secret", "downwardAPI", "projected")
PROJECTIONS = tuple(_PARSERS)
"""What the lab has."""
