"""A lab as a person writes it down: YAML or JSON with typed fields. What is left out has a default (layout.py)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from fairway.api.manifest import parse_documents
from fairway.base.errors import Refused
from fairway.cluster.images import absolute
from fairway.cluster.labfields import WrongField, placed
from fairway.plan.options import Mode

Texts = str | tuple[str, ...]
"""One text, or of each address family one."""


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A mapping with these keys and no others."""


class NodeEntry(_Fields, frozen=True):
    """A node, or `count` alike.

    name: of the first; those after it have 2, 3 ... behind it. Without one: LAB-control-plane or LAB-worker.
    role: "" is a worker's, but the first node's where none is told to be the control plane. zone: the label
    topology.kubernetes.io/zone. taints: as `kubectl taint` has them, KEY[=VALUE]:EFFECT; None for the role's own.
    last_pod_address: treated as the last one its pod network gave out, so that its first pod gets the next.
    proxy_mode: None for the lab's.
    """

    name: str = ""
    count: int = 1
    role: Literal["", "control-plane", "worker"] = ""
    zone: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    taints: tuple[str, ...] | None = None
    address: Texts = ()
    pod_cidr: Texts = msgspec.field(default=(), name="podCIDR")
    last_pod_address: Texts = ()
    proxy_mode: Mode | None = None


class NetworksEntry(_Fields, frozen=True):
    """The lab's networks. nodes: what nodes and clients share, `gateway` its bridge. load_balancers: as FIRST-LAST."""

    nodes: Texts = ()
    gateway: Texts = ()
    pods: Texts = ()
    services: Texts = ()
    load_balancers: Texts = ()


class ClientEntry(_Fields, frozen=True):
    """A machine outside the cluster."""

    name: str
    address: Texts = ()


class LabFile(_Fields, frozen=True):
    """A lab file.

    name: of the lab, "" for the default. nodes: how many, or which. zones: how many, or their names: the nodes without
    one of their own are spread over them in turn. dual_stack: None: if the file gives any address or network of IPv6.
    images: by name, the path of what stands for them. Paths, also those of manifests, are absolute once the file is
    read.
    """

    name: str = ""
    proxy_mode: Mode = Mode.NFTABLES
    dual_stack: bool | None = None
    nodes: int | tuple[NodeEntry, ...] = 4
    zones: int | tuple[str, ...] = 0
    networks: NetworksEntry = NetworksEntry()
    clients: tuple[ClientEntry, ...] = (ClientEntry(name="mypc"),)
    images: Mapping[str, str] = msgspec.field(default_factory=dict)
    manifests: tuple[str, ...] = ()


_MAPPINGS: Mapping[str, type[_Fields]] = {
    "": LabFile,
    "nodes[]": NodeEntry,
    "networks": NetworksEntry,
    "clients[]": ClientEntry,
}
"""What stands at a path, indices left out."""

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field (?P<field>.*)", re.DOTALL)
_PLACED = re.compile(r"(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)


def read_lab_file(path: Path) -> LabFile:
    """A lab file, the paths in it taken from its folder.

    Raises Refused, naming file and field, for what cannot be read or is no lab file.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Refused(f"{path}: {why}") from error
    lab = decode_lab_file(text, source=str(path))
    return msgspec.structs.replace(
        lab,
        images={name: absolute(each, path.parent) for name, each in lab.images.items()},
        manifests=tuple(str((path.parent / each).absolute()) for each in lab.manifests),
    )


def decode_lab_file(text: str, *, source: str) -> LabFile:
    """The text of a lab file; an empty one is a lab of defaults. Pure. source: how errors name it.

    Raises Refused as `read_lab_file`.
    """
    documents = [document for document in parse_documents(text, source=source) if document is not None]
    if len(documents) > 1:
        raise Refused(f"{source}: it holds {len(documents)} documents; a lab file is one")
    document = documents[0] if documents else {}
    if isinstance(document, dict) and {"apiVersion", "kind"} <= document.keys():
        raise Refused(f"{source}: this is a Kubernetes object; name its file under `manifests` of a lab file")
    try:
        return msgspec.convert(document, LabFile)
    except msgspec.ValidationError as error:
        raise placed(_explain(str(error)), source=source, text=text) from None


def _explain(message: str) -> WrongField:
    """What msgspec says, with the field as a person wrote it, and the near name for one that is none."""
    found = _PLACED.fullmatch(message)
    assert found is not None
    path = (found["path"] or "").lstrip(".")
    unknown = _UNKNOWN.fullmatch(found["problem"])
    if unknown is None:
        problem = re.sub(r"`([\w| ]+)`", lambda types: _in_words(types[1]), found["problem"])
        if problem.startswith("Expected a text, got") and "list" not in problem and "mapping" not in problem:
            problem += "; put it in quotes"
        if missing := _MISSING.fullmatch(problem):
            problem = f"it has no {missing['field']}, and must have one"
        if problem.startswith("Invalid enum value"):
            problem += f"; expected one of {', '.join(_CHOICES[path.rpartition('.')[2]])}"
        return WrongField(path, problem)
    kind = _MAPPINGS[re.sub(r"\[\d+\]", "[]", path)]
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    near = difflib.get_close_matches(unknown["field"], names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(names)}"
    where = f"{path}." if path else ""
    return WrongField(f"{where}{unknown['field']}", f"there is no such field; {hint}")


def _in_words(types: str) -> str:
    """One of msgspec's names for a type, or several."""
    return " or ".join(_TYPES.get(name, name) for name in types.split(" | "))


_CHOICES: Mapping[str, tuple[str, ...]] = {"role": ("control-plane", "worker"), "proxyMode": tuple(Mode)}

_TYPES: Mapping[str, str] = {
    "str": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
    "float": "a number",
}
"""Of msgspec's names for types."""


def plain(value: Any) -> Any:
    """A lab file as the mapping that YAML and JSON are written from; what has its default is left out."""
    if isinstance(value, _Fields):
        fields = msgspec.structs.fields(value)
        given = [(field, getattr(value, field.name)) for field in fields]
        return {field.encode_name: plain(each) for field, each in given if each != _default(field)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else str(value) if isinstance(value, Mode) else value


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
