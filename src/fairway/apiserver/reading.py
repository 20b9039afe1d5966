"""Gets, lists and watches: which objects, at which revision (apiserver `storage/etcd3/store.go`, API concepts)."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.api.resources import ENDPOINTS, EVENTS, NAMESPACES, NODES, PODS, SECRETS, SERVICES, Resource
from fairway.api.status import ApiError
from fairway.api.types import Key, Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.gojson import syntax_error
from fairway.apiserver.options import ListOptions
from fairway.apiserver.registry import Registry
from fairway.apiserver.representation import Form, bookmark_json, event_encoder
from fairway.apiserver.revisions import CompactedError, Record
from fairway.apiserver.routes import Target
from fairway.apiserver.selectors import Selection, parse_fields, parse_labels
from fairway.apiserver.watching import WatchStream

_OWN_FIELD_LABELS = (EVENTS, NAMESPACES, NODES, PODS, SECRETS, SERVICES)
"""Kinds with field labels of their own have a text of their own for unknown ones (`pkg/apis/core/v1/conversion.go`)."""

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - a continue token's version

_LIST_TOO_OLD = "The resourceVersion for the provided list is too old."
_CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You must start a new list without the continue parameter."
)

DEPRECATIONS = {ENDPOINTS.group_resource: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}
"""Warnings that go with every answer about a kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer to a list. metadata: resourceVersion, continue, remainingItemCount."""

    records: Sequence[Record]
    metadata: Object


def get(registry: Registry, target: Target, at_least: int | None = None) -> Record:
    """One published object. Raises ApiError 404, or 504 where `at_least` lies ahead."""
    _check_not_ahead(registry, at_least)
    record = registry.revisions.get(target.resource, target.key)
    if record is None:
        raise meta.not_found(target.resource, target.name)
    return record


def selection_of(registry: Registry, target: Target, options: ListOptions) -> Selection:
    """What a list or watch selects. Raises ApiError 400 for selectors that cannot be read or name unknown fields."""
    strategy = registry.strategy_for(target.resource)
    labels = parse_labels(options.label_selector)
    fields = parse_fields(options.field_selector)
    known = strategy.field_names()
    for term in fields:
        if term.field not in known:
            raise ApiError(400, "BadRequest", _unknown_field(target.resource, term.field))
    return Selection(fields_of=strategy.fields, namespace=target.namespace, labels=labels, fields=fields)


def list_page(registry: Registry, target: Target, options: ListOptions) -> Page:
    """One page of a list.

    Raises ApiError 400 for a bad selector or token, 410 where the revision wanted is no longer kept, 504 where it
    lies ahead.
    """
    selection = selection_of(registry, target, options)
    revision, after = _position(registry, options)
    try:
        records: Sequence[Record] = _at(registry, target, selection, revision)
    except CompactedError:
        raise ApiError(410, "Expired", _CONTINUE_TOO_OLD if after is not None else _LIST_TOO_OLD) from None
    if after is not None:
        records = records[bisect_right(records, after, key=_key) :]
    if not selection.is_everything:
        records = [record for record in records if selection.matches(record.key, record.obj)]
    metadata: Object = {"resourceVersion": str(revision)}
    if options.limit and len(records) > options.limit:
        left = len(records) - options.limit
        records = records[: options.limit]
        metadata["continue"] = _token(revision, records[-1].key)
        if selection.is_everything:
            metadata["remainingItemCount"] = left
    return Page(records=records, metadata=metadata)


def start_watch(registry: Registry, target: Target, options: ListOptions, form: Form, timeout_s: float) -> WatchStream:
    """A watch from where its options say. Raises ApiError 400 for a bad selector, 504 where its start lies ahead."""
    selection = selection_of(registry, target, options)
    revisions = registry.revisions
    wants_state = options.send_initial_events
    if wants_state is None:
        wants_state = not options.resource_version
    if options.send_initial_events:
        _check_not_ahead(registry, options.resource_version)
    cursor = revisions.revision if wants_state or not options.resource_version else options.resource_version
    initial: list[Record] = []
    if wants_state:
        found = _at(registry, target, selection, revisions.revision)
        initial = [record for record in found if selection.matches(record.key, record.obj)]
    return WatchStream(
        resource=target.resource,
        selection=selection,
        cursor=cursor,
        encode=event_encoder(form),
        encode_bookmark=lambda bookmark: bookmark_json(bookmark, form),
        initial=initial,
        announce_end=bool(options.send_initial_events and options.allow_bookmarks),
        allow_bookmarks=options.allow_bookmarks,
        timeout_s=float(options.timeout_s) if options.timeout_s else timeout_s,
    )


def _at(registry: Registry, target: Target, selection: Selection, revision: int) -> list[Record]:
    """The objects of the target's collection at a revision; of one name only where nothing else can be selected."""
    revisions = registry.revisions
    name = selection.exact_name
    if name is not None and revision == revisions.revision and (target.namespace or not target.resource.namespaced):
        found = revisions.get(target.resource, Key(target.namespace, name))
        return [found] if found is not None else []
    return revisions.records_at(target.resource, target.namespace, revision)


def _position(registry: Registry, options: ListOptions) -> tuple[int, Key | None]:
    """The revision to list at, and the key to go on after."""
    current = registry.revisions.revision
    if options.continue_token:
        revision, after = _read_token(options.continue_token)
        # A negative revision asks to go on with what there is now (apiserver `storage/continue.go`).
        return (min(revision, current) if revision > 0 else current), after
    _check_not_ahead(registry, options.resource_version)
    if options.exact and options.resource_version:
        return options.resource_version, None
    return current, None


def _check_not_ahead(registry: Registry, wanted: int | None) -> None:
    current = registry.revisions.revision
    if wanted is not None and wanted > current:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise ApiError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {wanted}, current: {current}",
            details={"causes": [cause], "retryAfterSeconds": 1},
        )


def _unknown_field(resource: Resource, name: str) -> str:
    if resource in _OWN_FIELD_LABELS:
        return f"field label not supported: {name}"
    return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _key(record: Record) -> Key:
    return record.key


def _token(revision: int, last: Key) -> str:
    start = f"{last.namespace}/{last.name}\0" if last.namespace else f"{last.name}\0"
    text = json.dumps({"v": _TOKEN_VERSION, "rv": revision, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _read_token(token: str) -> tuple[int, Key]:
    data = b""
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        found = json.loads(data)
        version, revision, start = found["v"], found["rv"], found["start"]
        if version != _TOKEN_VERSION or not isinstance(revision, int) or not isinstance(start, str):
            raise ValueError("server does not recognize this encoded version")
    except binascii.Error:
        problem = "illegal base64 data"
    except (ValueError, KeyError, TypeError) as error:
        problem = syntax_error(data) or str(error)
    else:
        namespace, _, name = start.rstrip("\0").rpartition("/")
        return revision, Key(namespace, name)
    raise ApiError(400, "BadRequest", f"invalid continue token: continue key is not valid: {problem}")


def list_warnings(resource: Resource) -> tuple[str, ...]:
    """What a client of a deprecated kind is told."""
    text = DEPRECATIONS.get(resource.group_resource)
    return (text,) if text else ()
