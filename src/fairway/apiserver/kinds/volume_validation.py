"""What is wrong with the volumes of a PodSpec and their mounts (kubernetes `pkg/apis/core/validation`)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.validation import names
from fairway.apiserver.validation.field import (
    all_invalid,
    duplicate,
    forbidden,
    invalid_value,
    not_found,
    not_supported,
    required,
)

_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
"""What a downward API volume may show."""
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")
_LEAST_TOKEN_S, _MOST_TOKEN_S = 600, 1 << 32


class Volumes:
    """Volumes, and the names that mounts may use."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def check(self, spec: Object, path: str) -> Iterator[Cause]:
        for index, volume in enumerate(spec.get("volumes") or []):
            name, here = volume.get("name") or "", f"{path}.volumes[{index}]"
            sources = [field for field in volume if field != "name"]
            if len(sources) > 1:
                yield forbidden(f"{here}.{sources[1]}", "may not specify more than 1 volume type")
            for kind in sources[:1]:
                yield from _source(kind, volume[kind] or {}, f"{here}.{kind}")
            if not name:
                yield required(f"{here}.name")
            else:
                yield from all_invalid(f"{here}.name", name, names.dns_label(name))
            if name in self.names:
                yield duplicate(f"{here}.name", name)
            self.names.add(name)


def _source(kind: str, source: Object, path: str) -> Iterator[Cause]:
    match kind:
        case "configMap" | "secret":
            yield from _values(source, path, "secretName" if kind == "secret" else "name")
        case "downwardAPI":
            yield from _fields(source, path)
        case "projected":
            for index, projection in enumerate(source.get("sources") or []):
                yield from _projection(projection, f"{path}.sources[{index}]")
    if kind in ("configMap", "secret", "downwardAPI", "projected"):
        yield from _mode(source.get("defaultMode"), f"{path}.defaultMode")


def _projection(projection: Object, path: str) -> Iterator[Cause]:
    kinds = list(projection)
    for kind in kinds[1:]:
        yield forbidden(f"{path}.{kind}", "may not specify more than 1 volume type per source")
    for kind in kinds[:1]:
        source, here = projection[kind] or {}, f"{path}.{kind}"
        if kind in ("configMap", "secret"):
            yield from _values(source, here, "name")
        elif kind == "downwardAPI":
            yield from _fields(source, here)
        elif kind == "serviceAccountToken":
            yield from _token(source, here)


def _values(source: Object, path: str, name: str) -> Iterator[Cause]:
    if not source.get(name):
        yield required(f"{path}.{name}")
    for index, item in enumerate(source.get("items") or []):
        here = f"{path}.items[{index}]"
        if not item.get("key"):
            yield required(f"{here}.key")
        yield from _file(item, here)


def _fields(source: Object, path: str) -> Iterator[Cause]:
    for index, item in enumerate(source.get("items") or []):
        here = f"{path}.items[{index}]"
        field = item.get("fieldRef")
        if field:
            wanted = field.get("fieldPath") or ""
            if not wanted:
                yield required(f"{here}.fieldRef.fieldPath")
            elif wanted not in _FIELDS and not _SUBSCRIPT.fullmatch(wanted):
                yield not_supported(f"{here}.fieldRef.fieldPath", wanted, _FIELDS)
        elif not item.get("resourceFieldRef"):
            yield required(here, "one of fieldRef and resourceFieldRef is required")
        elif not item["resourceFieldRef"].get("containerName"):
            yield required(f"{here}.resourceFieldRef.containerName")
        yield from _file(item, here)


def _token(source: Object, path: str) -> Iterator[Cause]:
    seconds = source.get("expirationSeconds")
    if seconds is not None and seconds < _LEAST_TOKEN_S:
        detail = "may not specify a duration less than 10 minutes"
        yield invalid_value(f"{path}.expirationSeconds", seconds, detail)
    if seconds is not None and seconds > _MOST_TOKEN_S:
        detail = "may not specify a duration larger than 2^32 seconds"
        yield invalid_value(f"{path}.expirationSeconds", seconds, detail)
    yield from _file(source, path)


def _file(item: Object, path: str) -> Iterator[Cause]:
    """The path in the volume, and permissions."""
    where = item.get("path") or ""
    if not where:
        yield required(f"{path}.path")
    inside = list(_descending(where, f"{path}.path"))
    yield from inside
    if where.startswith("..") and not inside:
        yield invalid_value(f"{path}.path", where, "must not start with '..'")
    yield from _mode(item.get("mode"), f"{path}.mode")


def _mode(mode: int | None, path: str) -> Iterator[Cause]:
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid_value(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _descending(where: str, path: str) -> Iterator[Cause]:
    if posixpath.isabs(where):
        yield invalid_value(path, where, "must be a relative path")
    if ".." in where.split("/"):
        yield invalid_value(path, where, "must not contain '..'")


def validate_mounts(container: Object, path: str, volumes: set[str]) -> Iterator[Cause]:
    """Of a container. path: of its volumeMounts. volumes: the names there are."""
    seen: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        here, where = f"{path}[{index}]", mount.get("mountPath") or ""
        if not mount.get("name"):
            yield required(f"{here}.name")
        elif mount["name"] not in volumes:
            yield not_found(f"{here}.name", mount["name"])
        if not where:
            yield required(f"{here}.mountPath")
        if where in seen:
            yield invalid_value(f"{here}.mountPath", where, "must be unique")
        seen.add(where)
        part, computed = mount.get("subPath") or "", mount.get("subPathExpr") or ""
        yield from _descending(part, f"{here}.subPath")
        if computed and part:
            yield invalid_value(f"{here}.subPathExpr", computed, "subPathExpr and subPath are mutually exclusive")
        yield from _descending(computed, f"{here}.subPathExpr")
