"""From a method and a path to the resource and verb they name. Facts: apiserver `endpoints/installer.go`."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.api.resources import RESOURCES, Resource
from fairway.api.status import ApiError
from fairway.api.types import Key

_OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
_SUBRESOURCE_VERBS = {**_OBJECT_VERBS, "POST": "create"}

# Of Kubernetes' own subresources those that a client asks for by a verb of its own, and is better told of by name.
_NOT_SERVED = frozenset({("pods", "attach"), ("pods", "ephemeralcontainers"), ("pods", "portforward")})

_PREFIXES = frozenset(resource.prefix for resource in RESOURCES)
_BY_PREFIX_AND_PLURAL = {(resource.prefix, resource.plural): resource for resource in RESOURCES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about.

    verb: get, list, create, update, patch, delete, deletecollection (a watch is a list until its query is read).
    namespace: "" for cluster-scoped resources and for lists over all namespaces. name: "" for collections.
    """

    resource: Resource
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)


class NoRouteError(Exception):
    """The path belongs to no group and version that is served: 404 as plain text."""


def resource_not_found() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


def subresource_not_found(resource: Resource, subresource: str) -> ApiError:
    """Clients see by reason and by details without a name that the path is missing, not the object."""
    if (resource.plural, subresource) not in _NOT_SERVED:
        return resource_not_found()
    message = f"{resource.plural}/{subresource} is not served by this API server; pods/exec and pods/log are"
    return ApiError(404, "NotFound", message, details={})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def resolve(method: str, path: str) -> Target:
    """The target of a path below /api/VERSION/ or /apis/GROUP/VERSION/.

    Raises NoRouteError, or ApiError 404 (resource) or 405 (method).
    """
    parts = path.strip("/").split("/")
    prefix, rest = _split_prefix(parts)
    if "" in rest:
        raise resource_not_found()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and not _is_namespace_subresource(prefix, rest):
        namespace, rest = rest[1], rest[2:]
    resource = _BY_PREFIX_AND_PLURAL.get((prefix, rest[0]))
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise resource_not_found()
    name = rest[1] if len(rest) > 1 else ""
    if name and resource.namespaced and not namespace:
        raise resource_not_found()
    subresource = rest[2] if len(rest) > 2 else ""
    verb = _verb(resource, method, namespace, name, subresource)
    return Target(resource=resource, verb=verb, namespace=namespace, name=name, subresource=subresource)


def _split_prefix(parts: list[str]) -> tuple[str, list[str]]:
    depth = 2 if parts[0] == "api" else 3
    prefix = "/" + "/".join(parts[:depth])
    if prefix not in _PREFIXES or len(parts) <= depth:
        raise NoRouteError
    return prefix, parts[depth:]


def _is_namespace_subresource(prefix: str, rest: list[str]) -> bool:
    """/api/v1/namespaces/NAME/status, which looks like a collection in a namespace."""
    resource = _BY_PREFIX_AND_PLURAL.get((prefix, "namespaces"))
    return resource is not None and len(rest) == 3 and rest[2] in {one.name for one in resource.subresources}


def _verb(resource: Resource, method: str, namespace: str, name: str, subresource: str) -> str:
    if subresource:
        found = next((one for one in resource.subresources if one.name == subresource), None)
        if found is None:
            raise subresource_not_found(resource, subresource)
        verb, allowed = _SUBRESOURCE_VERBS.get(method, ""), found.verbs
    elif name:
        verb, allowed = _OBJECT_VERBS.get(method, ""), resource.verbs
    else:
        verb, allowed = _COLLECTION_VERBS.get(method, ""), resource.verbs
        if resource.namespaced and not namespace and verb != "list":
            raise method_not_allowed()
    if verb not in allowed:
        raise method_not_allowed()
    return verb
