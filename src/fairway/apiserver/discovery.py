"""What a client can find out about the server: its version, groups, resources and schemas.

Two forms of discovery: the aggregated one (KEP-3352, one document for `/api` and one for `/apis`) and the legacy one,
a document per group and version. OpenAPI v3 has one document per group and version under a hashed URL (KEP-2896); v2 is
there for what kubectl does with it: it tells that a kind is not known, and clients that know no v3 can apply.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from fairway.api.resources import RESOURCES, Resource
from fairway.api.types import Object
from fairway.apiserver.openapi_paths import paths
from fairway.apiserver.reviews import REVIEWS
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.openapi import schemas

VERSION: Mapping[str, str] = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0+fairway",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The minor version whose API this is; clients choose their own behaviour by it."""

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
_OPENAPI_V2_ASKED = "proto-openapi.spec.v2"
_OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_FOREVER = "public, immutable, max-age=31536000"
"""For URLs that name their content by its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A body that never changes while the server runs. etag: without quotes, "" for none."""

    body: bytes
    content_type: str = "application/json"
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def find_document(path: str, accept: str) -> Document | None:
    """The document at a URL path, in the form that an Accept header asks for; None where there is none."""
    wanted = path.rstrip("/")
    if wanted in ("/api", "/apis"):
        return _groups(wanted, _aggregated_version(accept))
    if wanted == "/openapi/v2":
        return _openapi_v2(protobuf=_OPENAPI_V2_ASKED in accept)
    return _documents().get(wanted)


def _aggregated_version(accept: str) -> str:
    """The version of APIGroupDiscoveryList a client prefers, "" for the legacy form."""
    for clause in accept.split(","):
        parameters = {part.strip() for part in clause.split(";")[1:]}
        # A client that wants one server's own view only (profile=nopeer) gets the same: there is one server.
        if {"g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= parameters:
            for version in ("v2", "v2beta1"):
                if f"v={version}" in parameters:
                    return version
        elif clause.split(";")[0].strip() in ("application/json", "*/*") and "as=" not in clause:
            return ""
    return ""


def all_resources() -> tuple[Resource, ...]:
    """Everything discovery names: what is stored, and what is only asked."""
    return (*RESOURCES, *REVIEWS)


def _by_group(*, core: bool) -> dict[str, dict[str, list[Resource]]]:
    """Group, version, resources in alphabetical order."""
    found: dict[str, dict[str, list[Resource]]] = {}
    for resource in sorted(all_resources(), key=lambda one: one.plural):
        if (resource.group == "") is core:
            found.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    order = {resource.group: index for index, resource in enumerate(all_resources())}
    return dict(sorted(found.items(), key=lambda one: order[one[0]]))


@functools.cache
def _groups(path: str, aggregated: str) -> Document:
    groups = _by_group(core=path == "/api")
    if aggregated:
        body: Object = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{aggregated}",
            "metadata": {},
            "items": [_aggregated_group(group, versions) for group, versions in groups.items()],
        }
        return _document(body, content_type=_AGGREGATED.format(version=aggregated), headers={"Vary": "Accept"})
    if path == "/api":
        body = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    else:
        listed = [_legacy_group(group, versions) for group, versions in groups.items()]
        body = {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    return _document(body, headers={"Vary": "Accept"})


def _document(
    body: Object, *, content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Document:
    encoded = msgspec.json.encode(body)
    return Document(body=encoded, content_type=content_type, etag=_hash(encoded), headers=headers or {})


def _hash(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest().upper()


def _aggregated_group(group: str, versions: Mapping[str, Iterable[Resource]]) -> Object:
    return {
        "metadata": {"name": group} if group else {},
        "versions": [
            {"version": version, "resources": [_aggregated_resource(one) for one in found], "freshness": "Current"}
            for version, found in versions.items()
        ],
    }


def _aggregated_resource(resource: Resource) -> Object:
    made: Object = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        made["shortNames"] = list(resource.short_names)
    if resource.categories:
        made["categories"] = list(resource.categories)
    if resource.subresources:
        made["subresources"] = [
            {
                "subresource": subresource.name,
                "responseKind": _response_kind(subresource.kind, resource.kind),
                "verbs": list(subresource.verbs),
            }
            for subresource in resource.subresources
        ]
    return made


def _response_kind(kind: tuple[str, str, str] | None, own: str) -> Object:
    """Group and version stay empty where they are those of the document (the core group has no others to name)."""
    group, version, name = kind or ("", "", own)
    return {"group": group, "version": version if group else "", "kind": name}


def _legacy_group(group: str, versions: Iterable[str]) -> Object:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


@functools.cache
def _documents() -> dict[str, Document]:
    made = {"/version": _document(dict(VERSION))}
    opened: Object = {}
    for core in (True, False):
        for group, versions in _by_group(core=core).items():
            if group:
                single = {"kind": "APIGroup", "apiVersion": "v1", **_legacy_group(group, versions)}
                made[f"/apis/{group}"] = _document(single)
            for found in versions.values():
                prefix = found[0].prefix
                made[prefix] = _document(_legacy_resources(found))
                specification = _openapi(found)
                made[f"/openapi/v3{prefix}"] = specification
                opened[prefix.lstrip("/")] = {
                    "serverRelativeURL": f"/openapi/v3{prefix}?hash={specification.etag}",
                }
    made["/openapi/v3"] = _document({"paths": opened})
    return made


def _legacy_resources(found: Iterable[Resource]) -> Object:
    entries: list[Object] = []
    version = ""
    for resource in found:
        version = resource.api_version
        entries.append(_legacy_resource(resource))
        for subresource in resource.subresources:
            kind = subresource.kind or ("", "", resource.kind)
            entry = {
                "name": f"{resource.plural}/{subresource.name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind[2],
                "verbs": list(subresource.verbs),
            }
            entries.append(entry | ({"group": kind[0], "version": kind[1]} if kind[0] else {}))
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": entries}


def _legacy_resource(resource: Resource) -> Object:
    made: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        made["shortNames"] = list(resource.short_names)
    if resource.categories:
        made["categories"] = list(resource.categories)
    return made


def _openapi(found: list[Resource]) -> Document:
    roots = [resource.kind for resource in found] + ["DeleteOptions", "Status"]
    if any(resource.kind == "Pod" for resource in found):
        roots += ["Binding", "Eviction"]
    if any(subresource.name == "scale" for resource in found for subresource in resource.subresources):
        roots.append("Scale")
    body = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths(SCHEMA, found),
        "components": {"schemas": schemas(SCHEMA, roots, [one for one in found if "list" in one.verbs])},
    }
    return _document(body, headers={"Cache-Control": _FOREVER, "Vary": "Accept-Encoding"})


@functools.cache
def _openapi_v2(*, protobuf: bool) -> Document:
    """A document without paths and definitions: its reader asks the server instead of judging by a schema.

    protobuf: the only form kubectl reads, gnostic's `openapiv2/OpenAPIv2.proto` (Document: swagger = 1, info = 2).
    """
    title, version = "Kubernetes", VERSION["gitVersion"]
    if not protobuf:
        info = {"title": title, "version": version}
        return _document({"swagger": "2.0", "info": info, "paths": {}}, headers={"Vary": "Accept"})
    info_message = _protobuf_text(1, title) + _protobuf_text(2, version)
    body = _protobuf_text(1, "2.0") + _protobuf_field(2, info_message)
    return Document(body=body, content_type=_OPENAPI_V2_PROTOBUF, etag=_hash(body), headers={"Vary": "Accept"})


def _protobuf_text(number: int, text: str) -> bytes:
    return _protobuf_field(number, text.encode())


def _protobuf_field(number: int, value: bytes) -> bytes:
    """A length-delimited field; number below 16 and value shorter than 128 bytes, so that one byte tells each."""
    return bytes((number << 3 | 2, len(value))) + value
