"""A request to its answer, as values: no HTTP, no clock, no waiting.

The answer to a write must leave only when everything accepted so far is durable (`Store.commit`), the refusal of one
too: it may have been decided upon a write that is not yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairway.api.resources import NAMESPACES, RESOURCES, Resource
from fairway.api.types import Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.bodies import check_kind, load, read_object
from fairway.apiserver.discovery import Document, find_document
from fairway.apiserver.eviction import evict, read_eviction
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.metrics import CONTENT_TYPE, metrics_text
from fairway.apiserver.options import (
    ListOptions,
    check_delete_body,
    delete_options,
    get_resource_version,
    list_options,
    write_options,
)
from fairway.apiserver.reading import get, list_page, list_warnings, selection_of, start_watch
from fairway.apiserver.registry import Registry, create, delete, update
from fairway.apiserver.representation import (
    Form,
    list_response,
    negotiate,
    object_response,
    value_response,
)
from fairway.apiserver.request import Request, Response, StreamResponse
from fairway.apiserver.reviews import answer_review, find_review
from fairway.apiserver.revisions import Record
from fairway.apiserver.routes import NoRouteError, Target, method_not_allowed, resolve, resource_not_found
from fairway.apiserver.service_accounts import TOKEN_REQUESTS
from fairway.apiserver.subresources import SCALE, bind, read_replicas, scale, scale_of
from fairway.apiserver.updating import apply_patch, check_patch_type, patch_document, read_replacement

STREAMED = ("exec", "log")
"""Subresources of pods that the kubelet answers; the server passes them on, they do not come here."""

ROOT_PATHS = (
    "/api",
    "/api/v1",
    *sorted({"/apis"} | {path for one in RESOURCES if one.group for path in (f"/apis/{one.group}", one.prefix)}),
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/version",
)
"""What `/` says there is."""

_BINDING = Resource(kind="Binding", plural="bindings")

Answer = Response | StreamResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What every handler needs: the request taken apart."""

    registry: Registry
    request: Request
    target: Target
    form: Form
    around: Surroundings
    watch_timeout_s: float

    @property
    def latest(self) -> Record:
        """The object of the URL as decisions see it. Raises ApiError 404."""
        found = self.registry.revisions.latest(self.target.resource, self.target.key)
        if found is None:
            raise meta.not_found(self.target.resource, self.target.name)
        return found

    def answer(self, record: Record, *, code: int = 200, warnings: tuple[str, ...] = ()) -> Response:
        everyone = list_warnings(self.target.resource)
        return object_response(
            record, self.form, now=self.around.now, code=code, warnings=tuple(dict.fromkeys([*everyone, *warnings]))
        )


def handle(registry: Registry, request: Request, around: Surroundings, *, watch_timeout_s: float) -> Answer:
    """Answer a request for API objects, or for a document about them.

    watch_timeout_s: how long a watch lasts whose client does not say. Raises ApiError, and NoRouteError where the path
    belongs to nothing.
    """
    if request.path == "/":
        return value_response({"paths": list(ROOT_PATHS)}, negotiate(request))
    if request.path == "/metrics":
        return _metrics(registry, request)
    document = find_document(request.path, request.accept)
    if document is not None:
        return _document_response(document, request)
    review = find_review(request.path)
    if review is not None:
        return _review(review, request, around)
    target = resolve_target(request)
    form = negotiate(request)
    call = Call(
        registry=registry,
        request=request,
        target=target,
        form=form,
        around=around,
        watch_timeout_s=watch_timeout_s,
    )
    if target.subresource in _SUBRESOURCES:
        return _SUBRESOURCES[target.subresource](call)
    return _VERBS[target.verb](call)


def resolve_target(request: Request) -> Target:
    """The target of a request. Raises ApiError 404 or 405, and NoRouteError."""
    if not request.path.startswith(("/api/", "/apis/")):
        raise NoRouteError
    return resolve(request.method, request.path)


def _document_response(document: Document, request: Request) -> Response:
    if request.method != "GET":
        raise method_not_allowed()
    headers = dict(document.headers)
    if document.etag:
        headers["ETag"] = f'"{document.etag}"'
        if request.if_none_match in (headers["ETag"], document.etag):
            return Response(code=304, body=b"", content_type=document.content_type, headers=headers)
    return Response(code=200, body=document.body, content_type=document.content_type, headers=headers)


def _metrics(registry: Registry, request: Request) -> Response:
    if request.method != "GET":
        raise method_not_allowed()
    return Response(code=200, body=metrics_text(registry.revisions).encode(), content_type=CONTENT_TYPE)


def _review(resource: Resource, request: Request, around: Surroundings) -> Response:
    """A question about the client itself: answered, not stored."""
    if request.method != "POST" or request.user is None:
        raise method_not_allowed()
    body, _ = load(request.body, request.content_type, resource.kind)
    check_kind(body, resource)
    now = meta.rfc3339(around.now)
    answer = answer_review(resource, body, user=request.user.name, groups=request.user.groups, now=now)
    return value_response(answer, negotiate(request), code=201)


# Reads


def _get(call: Call) -> Answer:
    return call.answer(get(call.registry, call.target, get_resource_version(call.request)))


def _list(call: Call) -> Answer:
    options = list_options(call.request)
    warnings = list_warnings(call.target.resource)
    if options.watch:
        stream = start_watch(call.registry, call.target, options, call.form, call.watch_timeout_s)
        return StreamResponse(stream=stream, content_type=call.form.content_type, warnings=warnings)
    page = list_page(call.registry, call.target, options)
    return list_response(
        call.target.resource, page.records, page.metadata, call.form, now=call.around.now, warnings=warnings
    )


# Writes


def _create(call: Call) -> Answer:
    options = write_options(call.request, "CreateOptions")
    strategy = call.registry.strategy_for(call.target.resource)
    body = read_object(call.request.body, call.request.content_type, strategy, options.field_validation)
    record = create(
        call.registry, call.target.resource, call.target.namespace, body.obj, call.around, dry_run=options.dry_run
    )
    warnings = (*body.warnings, *strategy.warnings(record.obj, None))
    return call.answer(record, code=201, warnings=warnings)


def _update(call: Call) -> Answer:
    options = write_options(call.request, "UpdateOptions")
    target = call.target
    strategy = call.registry.strategy_for(target.resource)
    body = read_replacement(call.request, target, strategy, options.field_validation)
    old = call.registry.revisions.latest(target.resource, target.key)
    if old is None and strategy.allow_create_on_update and not target.subresource:
        if (meta.metadata_of(body.obj).get("resourceVersion") or "0") != "0":
            raise meta.not_found(target.resource, target.name)
        created = create(
            call.registry, target.resource, target.namespace, body.obj, call.around, dry_run=options.dry_run
        )
        return call.answer(created, code=201, warnings=(*body.warnings, *strategy.warnings(created.obj, None)))
    old = call.latest
    record = update(call.registry, old, body.obj, call.around, subresource=target.subresource, dry_run=options.dry_run)
    return call.answer(record, warnings=(*body.warnings, *strategy.warnings(record.obj, old.obj)))


def _patch(call: Call) -> Answer:
    check_patch_type(call.request)
    options = write_options(call.request, "PatchOptions")
    strategy = call.registry.strategy_for(call.target.resource)
    old = call.latest
    body = apply_patch(call.request, old.obj, strategy, options.field_validation)
    record = update(
        call.registry, old, body.obj, call.around, subresource=call.target.subresource, dry_run=options.dry_run
    )
    return call.answer(record, warnings=(*body.warnings, *strategy.warnings(record.obj, old.obj)))


def _delete(call: Call) -> Answer:
    options = delete_options(call.request, _delete_body(call.request))
    old = call.latest
    deletion = delete(call.registry, old, options, call.around)
    strategy = call.registry.strategy_for(call.target.resource)
    if not deletion.is_gone:
        # The old way to ask for Background answers 202 while something holds the object (`handlers/delete.go`).
        return call.answer(deletion.record, code=202 if options.orphan_dependents is False else 200)
    if strategy.returns_deleted or call.target.resource is NAMESPACES:
        return call.answer(deletion.record)
    details: Object = {"name": old.key.name, "group": old.resource.group, "kind": old.resource.plural}
    if not old.resource.group:
        del details["group"]
    details["uid"] = old.obj["metadata"]["uid"]
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return value_response(status, call.form, warnings=list_warnings(call.target.resource))


def _delete_collection(call: Call) -> Answer:
    wanted = list_options(call.request)
    options = delete_options(call.request, _delete_body(call.request))
    resource = call.target.resource
    records = _selected(call, wanted)
    for record in records:
        # Deleting one may have removed another (a Service its Endpoints).
        if call.registry.revisions.latest(resource, record.key) is not None:
            delete(call.registry, record, options, call.around)
    metadata = {"resourceVersion": str(call.registry.revisions.accepted)}
    warnings = list_warnings(resource)
    return list_response(resource, records, metadata, call.form, now=call.around.now, warnings=warnings)


def _selected(call: Call, options: ListOptions) -> list[Record]:
    selection = selection_of(call.registry, call.target, options)
    records = call.registry.revisions.latest_records(call.target.resource, call.target.namespace)
    return [record for record in records if selection.matches(record.key, record.obj)]


def _delete_body(request: Request) -> Object | None:
    if not request.body:
        return None
    found, _ = load(request.body, request.content_type, "DeleteOptions")
    return check_delete_body(found)


# Subresources


def _scale(call: Call) -> Answer:
    if call.target.verb == "get":
        return value_response(scale_of(get(call.registry, call.target)), call.form)
    kind = "PatchOptions" if call.target.verb == "patch" else "UpdateOptions"
    options = write_options(call.request, kind)
    old = call.latest
    if call.target.verb == "patch":
        wanted = patch_document(call.request, scale_of(old), call.registry.strategy_for(call.target.resource)).document
    else:
        wanted, _ = load(call.request.body, call.request.content_type, SCALE.kind)
    replicas = read_replicas(wanted, call.target.name)
    version = str(meta.metadata_of(wanted).get("resourceVersion") or "")
    record = scale(call.registry, old, replicas, version, call.around, dry_run=options.dry_run)
    return value_response(scale_of(record), call.form)


def _bind(call: Call) -> Answer:
    options = write_options(call.request, "CreateOptions")
    binding, _ = load(call.request.body, call.request.content_type, _BINDING.kind)
    bind(call.registry, call.latest, binding, call.around, dry_run=options.dry_run)
    return value_response(_DONE, call.form, code=201)


def _evict(call: Call) -> Answer:
    options, warnings = read_eviction(call.request, call.target.name, write_options(call.request, "CreateOptions"))
    evict(call.registry, call.latest, options, call.around)
    return value_response(_DONE, call.form, code=201, warnings=warnings)


_DONE: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _token(call: Call) -> Answer:
    """A token of a service account: made, and not stored."""
    if call.registry.tokens is None:
        raise resource_not_found()
    body, _ = load(call.request.body, call.request.content_type, TOKEN_REQUESTS.kind)
    check_kind(body, TOKEN_REQUESTS)
    granted = call.registry.tokens.grant(call.registry.revisions, call.latest, body, call.around)
    return value_response(granted, call.form, code=201)


_VERBS: Mapping[str, Callable[[Call], Answer]] = {
    "get": _get,
    "list": _list,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}

_SUBRESOURCES: Mapping[str, Callable[[Call], Answer]] = {
    "scale": _scale,
    "binding": _bind,
    "eviction": _evict,
    "token": _token,
}
