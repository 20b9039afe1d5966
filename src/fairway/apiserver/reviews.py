"""Questions a client asks about itself: may I (`kubectl auth can-i`), what may I (`--list`), who am I (`auth whoami`).

They are created, answered and not stored. In this release whoever proved an identity may do everything.
"""

from __future__ import annotations

import hashlib
import uuid

from fairway.api.resources import Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.apiserver.copies import copy_of
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.decode import WrongTypeError, decode
from fairway.apiserver.strategy import DecodeError

ACCESS_REVIEWS = Resource(
    kind="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    group="authorization.k8s.io",
    namespaced=False,
    verbs=("create",),
)
SUBJECT_REVIEWS = Resource(
    kind="SelfSubjectReview",
    plural="selfsubjectreviews",
    group="authentication.k8s.io",
    namespaced=False,
    verbs=("create",),
)

RULES_REVIEWS = Resource(
    kind="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    group="authorization.k8s.io",
    namespaced=False,
    verbs=("create",),
)

_EVERYTHING: Object = {
    "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "incomplete": False,
}
"""What the ClusterRole cluster-admin comes to."""

REVIEWS: tuple[Resource, ...] = (SUBJECT_REVIEWS, ACCESS_REVIEWS, RULES_REVIEWS)
"""In the order of discovery."""


def find_review(path: str) -> Resource | None:
    """The review whose collection a URL path is, or None."""
    return next((resource for resource in REVIEWS if path.rstrip("/") == resource.path()), None)


def answer_review(resource: Resource, body: Object, *, user: str, groups: tuple[str, ...], now: str) -> Object:
    """A review with its status filled in.

    user, groups: the client's identity. now: RFC 3339. Raises ApiError 400 where a field has a wrong type,
    or a question about rules names no namespace.
    """
    try:
        review, _ = decode(SCHEMA, resource.kind, body)
    except WrongTypeError as error:
        raise DecodeError(resource, str(error)) from None
    made: Object = {"kind": resource.kind, "apiVersion": resource.api_version, **review}
    if resource is ACCESS_REVIEWS:
        made["status"] = {"allowed": True}
    elif resource is RULES_REVIEWS:
        if not made["spec"].get("namespace"):
            raise ApiError(400, "BadRequest", "no namespace on request")
        made["status"] = copy_of(_EVERYTHING)
    else:
        made["metadata"] = {**made["metadata"], "creationTimestamp": now}
        identity = {"username": user, "uid": _user_id(user), "groups": [*groups, "system:authenticated"]}
        made["status"] = {"userInfo": identity}
    return made


def _user_id(user: str) -> str:
    """Certificates carry no id; a name keeps the one derived from it."""
    return str(uuid.UUID(bytes=hashlib.sha256(user.encode()).digest()[:16]))
