"""What a reconcile wants done: values that the shell (`manager`) performs in their order.

The shell stops at the first one that fails and reconciles the key again later, so an order such as
[Create, Record] records only what came true.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairway.api.resources import Resource
from fairway.api.types import Key, Object, key_of


class EventType(StrEnum):
    """Of an Event (`core/v1/types.go`)."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Propagation(StrEnum):
    """What becomes of an object's dependents when it is deleted (`metav1.DeletionPropagation`)."""

    FOREGROUND = "Foreground"
    BACKGROUND = "Background"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Tell a person: an Event about an object. action: of what the scheduler does, and of nothing else."""

    regarding: Object
    reason: str
    message: str
    type: EventType = EventType.NORMAL
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """POST an object; `failed` is recorded where the server refuses it, its message after `failed.message`."""

    resource: Resource
    body: Object
    failed: Record | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """PUT an object; its resourceVersion makes the server refuse it where the view was stale."""

    resource: Resource
    body: Object
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A merge patch (RFC 7396); one that must not meet a newer object carries `metadata.resourceVersion`."""

    resource: Resource
    key: Key
    body: Object
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """An object that would keep another alive, by kind, key and uid."""

    resource: Resource
    key: Key
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """DELETE the object of this uid, not another of its name.

    unless: where the API itself, not a cache, still knows one of these owners, nothing is deleted: caches of different
    resources are not in step, and an owner may be newer than our view of its kind. grace_s: None for the object's own
    grace period, 0 for at once, asking nobody.
    """

    resource: Resource
    key: Key
    uid: str
    propagation: Propagation | None = None
    unless: tuple[Owner, ...] = ()
    grace_s: int | None = None
    failed: Record | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Go on only if the API itself has no object of this name; else the rest is left out, and the key comes again."""

    resource: Resource
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Bind a pod to a node (POST pods/binding)."""

    pod: Object
    node: str

    @property
    def key(self) -> Key:
        return key_of(self.pod)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recheck:
    """Reconcile this key again after so many seconds: something will be due without any change of an object."""

    after_s: float


Write = Create | Update | Patch | Delete | Absent | Bind | Record | Recheck
