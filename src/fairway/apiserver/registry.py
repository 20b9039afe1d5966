"""How objects come into the store, change and leave it: the steps every kind goes through, in the real server's order.

Order: apiserver `registry/generic/registry/store.go`, `registry/rest/{create,update,delete}.go`. Every function
decides upon the accepted state and either accepts one write or raises and leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fairway.api.resources import (
    ENDPOINTS,
    IP_ADDRESSES,
    NAMESPACES,
    PODS,
    PRIORITY_CLASSES,
    SERVICES,
    Resource,
)
from fairway.api.status import ApiError, Cause
from fairway.api.types import Key, Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.allocators import Allocation, ServiceAllocator
from fairway.apiserver.ip_addresses import forget_addresses, record_addresses, service_with
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.options import DeleteOptions, Propagation
from fairway.apiserver.pod_admission import admit_pod
from fairway.apiserver.priorities import with_priority
from fairway.apiserver.revisions import Record, Revisions, transient
from fairway.apiserver.service_accounts import TokenAuthority
from fairway.apiserver.service_networks import networks_in_use
from fairway.apiserver.strategy import Strategy, invalid

_NAME_ATTEMPTS = 8
"""Suffixes tried for a generateName (apiserver `registry/generic/registry/store.go`)."""

PROTECTED_NAMESPACES = ("default", "kube-public", "kube-system")
"""Never deleted (apiserver `admission/plugin/namespace/lifecycle`)."""


@dataclass(slots=True, kw_only=True)
class Registry:
    """Everything a decision is taken upon.

    new_allocator: an empty allocator of Services' addresses and ports. services: the one in use. tokens: signs those of
    service accounts, which pods then have.
    """

    revisions: Revisions
    strategy_for: Callable[[Resource], Strategy]
    new_allocator: Callable[[], ServiceAllocator]
    tokens: TokenAuthority | None = None
    services: ServiceAllocator = field(init=False)

    def __post_init__(self) -> None:
        self.rebuild()

    def rebuild(self) -> None:
        """Derive from the stored objects what is kept beside them."""
        self.services = self.new_allocator()
        self.services.load(record.obj for record in self.revisions.latest_records(SERVICES))
        for record in self.revisions.latest_records(IP_ADDRESSES):
            self.services.claim_ip(record.key.name)

    def allocate(self, new: Object, old: Object | None, *, dry_run: bool) -> tuple[Object, Allocation]:
        """What `ServiceAllocator.allocate` does, from the networks that the ServiceCIDRs name now."""
        self.services.follow(networks_in_use(self.revisions, self.services.networks))
        return self.services.allocate(new, old, dry_run=dry_run)


# Create


def create(
    registry: Registry, resource: Resource, namespace: str, obj: Object, around: Surroundings, *, dry_run: bool = False
) -> Record:
    """Store a decoded object. Raises ApiError: 403 or 404 for its namespace, 403 for a pod's priority,
    409 AlreadyExists, 422 Invalid.
    """
    strategy = registry.strategy_for(resource)
    _check_body_namespace(resource, namespace, obj)
    name = meta.metadata_of(obj).get("name") or ""
    if resource.namespaced:
        _check_namespace(registry, resource, namespace, name)
    new = _begin(registry, resource, namespace, strategy.default(obj), around)
    if resource is PODS:
        new = with_priority(new, (record.obj for record in registry.revisions.latest_records(PRIORITY_CLASSES)))
    if resource is PODS and registry.tokens is not None:
        new = admit_pod(registry.revisions, new, around)
    if resource is not SERVICES:
        record = _insert(registry, strategy, new, dry_run=dry_run)
        if resource is IP_ADDRESSES and not dry_run:
            registry.services.claim_ip(record.key.name)
        return record
    allocated, allocation = registry.allocate(new, None, dry_run=dry_run)
    try:
        record = _insert(registry, strategy, allocated, dry_run=dry_run)
    except BaseException:
        allocation.revert()
        raise
    allocation.commit()
    if not dry_run:
        record_addresses(registry.revisions, record, around)
    return record


def _begin(registry: Registry, resource: Resource, namespace: str, obj: Object, around: Surroundings) -> Object:
    new = meta.begin(obj, namespace, around)
    if meta.metadata_of(obj).get("name"):
        return new
    for _ in range(_NAME_ATTEMPTS):
        key = Key(namespace, meta.metadata_of(new).get("name") or "")
        if registry.revisions.latest(resource, key) is None:
            break
        new = meta.begin(obj, namespace, around)
    return new


def _insert(registry: Registry, strategy: Strategy, obj: Object, *, dry_run: bool) -> Record:
    resource = strategy.resource
    new = strategy.prepare_create(obj)
    name = meta.metadata_of(new).get("name") or ""
    causes = strategy.validate_create(new)
    if causes:
        raise invalid(resource, name, causes)
    key = Key(meta.metadata_of(new).get("namespace") or "", name)
    if registry.revisions.latest(resource, key) is not None:
        raise meta.already_exists(resource, name)
    return transient(resource, key, new) if dry_run else registry.revisions.put(resource, key, new)


def _check_body_namespace(resource: Resource, namespace: str, obj: Object) -> None:
    stated = meta.metadata_of(obj).get("namespace") or ""
    if resource.namespaced and stated and stated != namespace:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise ApiError(400, "BadRequest", message)


def _check_namespace(registry: Registry, resource: Resource, namespace: str, name: str) -> None:
    """Objects are created only in namespaces that exist and stay (admission plugin NamespaceLifecycle)."""
    found = registry.revisions.latest(NAMESPACES, Key("", namespace))
    if found is None:
        raise meta.not_found(NAMESPACES, namespace)
    if found.obj["metadata"].get("deletionTimestamp"):
        cause = Cause(
            reason="NamespaceTerminating",
            message=f"namespace {namespace} is being terminated",
            field="metadata.namespace",
        )
        reason = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise meta.forbidden(resource, name, reason, causes=[cause.to_json()])


# Update


def update(
    registry: Registry,
    old: Record,
    obj: Object,
    around: Surroundings,
    *,
    subresource: str = "",
    dry_run: bool = False,
) -> Record:
    """Store a decoded object in the place of `old`; nothing is written where nothing would change.

    An object marked as deleted goes once its last finalizer does. Raises ApiError 409 for a stale resourceVersion or
    another uid, 422 Invalid.
    """
    strategy = registry.strategy_for(old.resource)
    _check_version(strategy, old, obj)
    immutable = meta.immutable_causes(obj, old.obj)
    new = meta.carry_over(strategy.default(obj), old.obj)
    if old.resource is not SERVICES or subresource:
        return _replace(registry, strategy, old, new, immutable, around, subresource=subresource, dry_run=dry_run)
    allocated, allocation = registry.allocate(new, old.obj, dry_run=dry_run)
    try:
        record = _replace(
            registry, strategy, old, allocated, immutable, around, subresource=subresource, dry_run=dry_run
        )
    except BaseException:
        allocation.revert()
        raise
    allocation.commit()
    if not dry_run and registry.revisions.latest(SERVICES, old.key) is not None:
        forget_addresses(registry.revisions, old.obj, record.obj)
        record_addresses(registry.revisions, record, around)
    return record


def _replace(
    registry: Registry,
    strategy: Strategy,
    old: Record,
    obj: Object,
    immutable: Sequence[Cause],
    around: Surroundings,
    *,
    subresource: str,
    dry_run: bool,
) -> Record:
    new = strategy.prepare_update(obj, old.obj, subresource=subresource)
    causes = [*immutable, *strategy.validate_update(new, old.obj, subresource=subresource)]
    if causes:
        raise invalid(old.resource, old.key.name, causes)
    if new == old.obj:
        return old
    if dry_run:
        return transient(old.resource, old.key, new)
    if meta.may_go(new):
        return _drop(registry, old, new, around)
    return registry.revisions.put(old.resource, old.key, new)


def _check_version(strategy: Strategy, old: Record, obj: Object) -> None:
    metadata = meta.metadata_of(obj)
    version, uid = metadata.get("resourceVersion"), metadata.get("uid")
    if uid and uid != old.obj["metadata"]["uid"]:
        reason = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.obj['metadata']['uid']}"
        raise meta.conflict(strategy.resource, old.key.name, reason)
    if version and version != "0":
        if version != str(old.revision):
            raise meta.modified_elsewhere(strategy.resource, old.key.name)
    elif not strategy.allow_unconditional_update:
        message = "Invalid value: 0: must be specified for an update"
        cause = Cause(reason="FieldValueInvalid", message=message, field="metadata.resourceVersion")
        raise invalid(strategy.resource, old.key.name, [cause])


# Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a deletion came to. record: the last state, or the marked object that stays for now."""

    record: Record
    is_gone: bool


def delete(registry: Registry, old: Record, options: DeleteOptions, around: Surroundings) -> Deletion:
    """Mark an object as deleted, and remove it unless a grace period or finalizers hold it.

    Raises ApiError 409 where a precondition does not hold, 403 for a namespace that must stay.
    """
    check_preconditions(old, options)
    if old.resource is NAMESPACES:
        return _delete_namespace(registry, old, options, around)
    obj = _with_propagation(old.obj, options.propagation)
    period = registry.strategy_for(old.resource).grace_period_s(obj, options.grace_period_s)
    if period is not None:
        obj = _mark_gracefully(obj, period, options, around)
    held = bool(obj["metadata"].get("finalizers")) or bool(obj["metadata"].get("deletionGracePeriodSeconds"))
    if not held:
        return _finish(registry, old, obj, around, is_gone=True, dry_run=options.dry_run)
    if not obj["metadata"].get("deletionTimestamp"):
        obj = meta.mark_deleted(obj, grace_period_s=0, now=around.now, graceful=False)
    return _finish(registry, old, obj, around, is_gone=False, dry_run=options.dry_run)


def check_preconditions(old: Record, options: DeleteOptions) -> None:
    """Raises ApiError 409 where the object is not the one, or not in the version, that was meant."""
    metadata = old.obj["metadata"]
    # The real server names the kind here, not the plural (apiserver `registry/rest/delete.go`).
    problem = ""
    if options.uid is not None and options.uid != metadata["uid"]:
        problem = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif options.resource_version is not None and options.resource_version != metadata["resourceVersion"]:
        problem = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({metadata['resourceVersion']}). The object might have been modified"
        )
    if problem:
        resource = old.resource
        kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
        details = {"name": old.key.name, "group": resource.group, "kind": resource.kind}
        if not resource.group:
            del details["group"]
        message = f'Operation cannot be fulfilled on {kind} "{old.key.name}": {problem}'
        raise ApiError(409, "Conflict", message, details=details)


def _with_propagation(obj: Object, propagation: Propagation | None) -> Object:
    """The object with the finalizer the propagation policy asks for; without a policy it keeps what it has."""
    if propagation is None:
        return obj
    before = list(obj["metadata"].get("finalizers") or ())
    kept = [one for one in before if one not in (meta.ORPHAN, meta.FOREGROUND)]
    if propagation is Propagation.ORPHAN:
        kept.append(meta.ORPHAN)
    elif propagation is Propagation.FOREGROUND:
        kept.append(meta.FOREGROUND)
    return obj if kept == before else meta.with_metadata(obj, finalizers=kept or None)


def _mark_gracefully(obj: Object, period: int, options: DeleteOptions, around: Surroundings) -> Object:
    """A grace period starts once; later deletions may only shorten it."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        left = metadata.get("deletionGracePeriodSeconds") or 0
        if options.grace_period_s is None or period >= left:
            return obj
    return meta.mark_deleted(obj, grace_period_s=period, now=around.now, graceful=True)


def _finish(
    registry: Registry, old: Record, obj: Object, around: Surroundings, *, is_gone: bool, dry_run: bool
) -> Deletion:
    if dry_run:
        return Deletion(record=transient(old.resource, old.key, obj), is_gone=is_gone)
    if is_gone:
        return Deletion(record=_drop(registry, old, obj, around), is_gone=True)
    if obj == old.obj:
        return Deletion(record=old, is_gone=False)
    return Deletion(record=registry.revisions.put(old.resource, old.key, obj), is_gone=False)


def _drop(registry: Registry, old: Record, last: Object, around: Surroundings) -> Record:
    """Remove an object and what hangs on it."""
    record = registry.revisions.remove(old.resource, old.key, last)
    if old.resource is SERVICES:
        registry.services.release(old.obj)
        forget_addresses(registry.revisions, old.obj, None)
        # So that a Service made anew under the name does not start with old endpoints
        # (pkg/registry/core/service/storage/storage.go, afterDelete).
        if registry.revisions.latest(ENDPOINTS, old.key) is not None:
            registry.revisions.remove(ENDPOINTS, old.key)
    if old.resource is IP_ADDRESSES:
        service = service_with(registry.revisions, old.key.name)
        if service is None:
            registry.services.release_ip(old.key.name)
        else:
            # The real one's repair loop brings it back as well, later (ipallocator/controller/repairip.go).
            record_addresses(registry.revisions, service, around)
    return record


def _delete_namespace(registry: Registry, old: Record, options: DeleteOptions, around: Surroundings) -> Deletion:
    if old.key.name in PROTECTED_NAMESPACES:
        raise meta.forbidden(NAMESPACES, old.key.name, "this namespace may not be deleted")
    obj = _with_propagation(old.obj, options.propagation)
    if not obj["metadata"].get("deletionTimestamp"):
        obj = meta.mark_deleted(obj, grace_period_s=0, now=around.now, graceful=False)
        obj = {**obj, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}
    return _finish(registry, old, obj, around, is_gone=meta.may_go(obj), dry_run=options.dry_run)
