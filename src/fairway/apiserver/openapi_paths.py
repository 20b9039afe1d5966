"""The operations on resources as OpenAPI v3 paths.

kubectl looks here for the kind behind a resource (`explain`), and whether PATCH takes `fieldValidation` and
strategic merge patches (`apply`, `create`): cli-runtime `resource/query_param_verifier_v3.go`.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairway.api.resources import Resource
from fairway.api.types import Object
from fairway.apiserver.schema.model import Schema

_PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


def _query(name: str, kind: str, text: str) -> Object:
    schema = {"type": kind, "uniqueItems": True}
    return {"name": name, "in": "query", "description": text, "schema": schema}


_DRY_RUN = _query("dryRun", "string", "All: check and answer, but store nothing.")
_MANAGER = _query("fieldManager", "string", "Who makes the change.")
_VALIDATION = _query("fieldValidation", "string", "Unknown and duplicate fields: Ignore, Warn or Strict.")
_FORCE = _query("force", "boolean", "Take over fields of other managers; for apply patches only.")
_WRITE = (_DRY_RUN, _MANAGER, _VALIDATION)
_LIST = (
    _query("labelSelector", "string", "Only objects whose labels match."),
    _query("fieldSelector", "string", "Only objects whose fields match."),
    _query("limit", "integer", "At most so many; the rest follows with continue."),
    _query("continue", "string", "From the answer before, to get what follows it."),
    _query("resourceVersion", "string", "The state to read, or to watch from."),
    _query("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    _query("watch", "boolean", "Follow changes instead of listing."),
    _query("allowWatchBookmarks", "boolean", "Let the watch send its position from time to time."),
    _query("sendInitialEvents", "boolean", "Let the watch begin with everything there is."),
    _query("timeoutSeconds", "integer", "How long a watch lasts."),
)
_DELETE = (
    _DRY_RUN,
    _query("gracePeriodSeconds", "integer", "Seconds an object has to end; 0: none."),
    _query("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
)
_METHODS = {
    "list": "get",
    "create": "post",
    "deletecollection": "delete",
    "get": "get",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
}
_ACTIONS = {"create": "post", "update": "put"}
"""What `x-kubernetes-action` calls a verb, where it is not its name."""


def paths(schema: Schema, resources: Iterable[Resource]) -> Object:
    """`paths` of the document of one group and version."""
    made: Object = {}
    for resource in resources:
        namespace = "{namespace}" if resource.namespaced else ""
        collection, item = resource.path(namespace), resource.path(namespace, "{name}")
        made[collection] = _path(schema, resource, collection, ("list", "create", "deletecollection"))
        if resource.namespaced and "list" in resource.verbs:
            everywhere = resource.path()
            made[everywhere] = _path(schema, resource, everywhere, ("list",))
        one = _path(schema, resource, item, ("get", "update", "patch", "delete"))
        if "get" in resource.verbs:
            made[item] = one
        for subresource in resource.subresources:
            if subresource.kind is None and set(subresource.verbs) >= {"get", "patch", "update"}:
                path = f"{item}/{subresource.name}"
                made[path] = _path(schema, resource, path, ("get", "update", "patch"))
    return made


def _path(schema: Schema, resource: Resource, path: str, verbs: Iterable[str]) -> Object:
    made: Object = {_METHODS[verb]: _operation(schema, resource, verb) for verb in verbs if verb in resource.verbs}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}
        for name in ("name", "namespace")
        if f"{{{name}}}" in path
    ]
    if parameters:
        made["parameters"] = parameters
    return made


def _operation(schema: Schema, resource: Resource, verb: str) -> Object:
    own = _reference(schema.types[resource.kind].full_name)
    status = _reference(schema.types["Status"].full_name)
    answer = status if verb in ("delete", "deletecollection") else own
    if verb == "list":
        answer = _reference(f"{schema.types[resource.kind].package}.{resource.list_kind}")
    made: Object = {
        "tags": [f"{resource.group or 'core'}_{resource.version}"],
        "parameters": list(_parameters(verb)),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
    }
    if verb in ("create", "update"):
        made["requestBody"] = {"required": True, "content": {"*/*": {"schema": own}}}
    elif verb == "patch":
        anything = {"schema": {"type": "object", "description": "A patch."}}
        made["requestBody"] = {"required": True, "content": dict.fromkeys(_PATCH_TYPES, anything)}
    elif verb in ("delete", "deletecollection"):
        options = _reference(schema.types["DeleteOptions"].full_name)
        made["requestBody"] = {"content": {"*/*": {"schema": options}}}
    return made


def _parameters(verb: str) -> tuple[Object, ...]:
    match verb:
        case "list":
            return _LIST
        case "create" | "update":
            return _WRITE
        case "patch":
            return (*_WRITE, _FORCE)
        case "delete":
            return _DELETE
        case "deletecollection":
            return (*_DELETE, *_LIST[:6])
    return ()


def _reference(full_name: str) -> Object:
    return {"$ref": f"#/components/schemas/{full_name}"}
