"""Tokens of service accounts: who gets one, what it says, and whom it proves. Pure.

Facts: `pkg/serviceaccount/{claims,jwt}.go`, `pkg/registry/core/serviceaccount/storage/token.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fairway.api.resources import PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from fairway.api.status import ApiError, Cause
from fairway.api.types import Key, Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.jwt import InvalidTokenError, SigningKey
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.request import User
from fairway.apiserver.revisions import Record, Revisions
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.decode import WrongTypeError, decode
from fairway.apiserver.strategy import DecodeError, invalid

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Also the audience of a token for the API server (--service-account-issuer, --api-audiences of kubeadm)."""

TOKEN_REQUESTS = Resource(kind="TokenRequest", plural="tokenrequests", group="authentication.k8s.io", verbs=("create",))

_CLAIMS = "kubernetes.io"
_DEFAULT_S, _LEAST_S, _MOST_S = 3600, 600, 1 << 32
"""`pkg/apis/authentication/v1/defaults.go`, `pkg/apis/authentication/validation`."""
_LEEWAY = timedelta(minutes=1)
"""Of clocks (go-jose, DefaultLeeway)."""
_BOUND = {("v1", "Pod"): PODS, ("v1", "Secret"): SECRETS}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuthority:
    """Signs tokens, and knows them again."""

    key: SigningKey

    def grant(self, revisions: Revisions, account: Record, body: Object, around: Surroundings) -> Object:
        """Answer a TokenRequest for a service account.

        Raises ApiError: 400 for a body that is none or an object that no token is bound to, 404 or 409 for one that is
        not there or is another, 422 for times out of range.
        """
        try:
            request, _ = decode(SCHEMA, TOKEN_REQUESTS.kind, body)
        except WrongTypeError as error:
            raise DecodeError(TOKEN_REQUESTS, str(error)) from None
        spec = request.get("spec") or {}
        seconds = _DEFAULT_S if spec.get("expirationSeconds") is None else int(spec["expirationSeconds"])
        _check_seconds(seconds, account.key.name)
        audiences = list(spec.get("audiences") or [ISSUER])
        reference = spec.get("boundObjectRef")
        expires = around.now + timedelta(seconds=seconds)
        private: Object = {"namespace": account.key.namespace, "serviceaccount": _identity(account)}
        if reference:
            bound = _bound(revisions, account, reference)
            private[bound.resource.kind.lower()] = _identity(bound)
        claims = {
            "aud": audiences,
            "exp": int(expires.timestamp()),
            "iat": int(around.now.timestamp()),
            "iss": ISSUER,
            "jti": around.new_uid(),
            _CLAIMS: private,
            "nbf": int(around.now.timestamp()),
            "sub": _user_name(account.key),
        }
        return {
            "kind": TOKEN_REQUESTS.kind,
            "apiVersion": TOKEN_REQUESTS.api_version,
            "metadata": {
                "name": account.key.name,
                "namespace": account.key.namespace,
                "creationTimestamp": meta.rfc3339(around.now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": reference or None,
            },
            "status": {"token": self.key.sign(claims), "expirationTimestamp": meta.rfc3339(expires)},
        }

    def user_of(self, revisions: Revisions, token: str, now: datetime) -> User:
        """Whom a token proves: a service account that is there, and so is what the token is bound to.

        Raises InvalidTokenError.
        """
        claims = self.key.verify(token)
        if claims.get("iss") != ISSUER or ISSUER not in (claims.get("aud") or []):
            raise InvalidTokenError("issued by another, or for another")
        if not _time(claims, "nbf") - _LEEWAY <= now <= _time(claims, "exp") + _LEEWAY:
            raise InvalidTokenError("not valid at this time")
        private = claims.get(_CLAIMS) or {}
        namespace = private.get("namespace") or ""
        for resource in (SERVICE_ACCOUNTS, PODS, SECRETS):
            told = private.get(resource.kind.lower())
            if told is None and resource is not SERVICE_ACCOUNTS:
                continue
            name, uid = (told or {}).get("name") or "", (told or {}).get("uid")
            found = revisions.latest(resource, Key(namespace, name))
            if found is None or found.obj["metadata"]["uid"] != uid:
                raise InvalidTokenError(f"{resource.kind} {namespace}/{name} is gone")
        account = Key(namespace, private["serviceaccount"]["name"])
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return User(name=_user_name(account), groups=groups)


def _user_name(account: Key) -> str:
    return f"system:serviceaccount:{account.namespace}:{account.name}"


def _identity(record: Record) -> Object:
    return {"name": record.key.name, "uid": record.obj["metadata"]["uid"]}


def _time(claims: Any, name: str) -> datetime:
    return datetime.fromtimestamp(int(claims.get(name) or 0), UTC)


def _check_seconds(seconds: int, name: str) -> None:
    detail = ""
    if seconds < _LEAST_S:
        detail = "may not specify a duration less than 10 minutes"
    elif seconds > _MOST_S:
        detail = "may not specify a duration larger than 2^32 seconds"
    if detail:
        message = f"Invalid value: {seconds}: {detail}"
        cause = Cause(reason="FieldValueInvalid", message=message, field="spec.expirationSeconds")
        raise invalid(TOKEN_REQUESTS, name, [cause])


def _bound(revisions: Revisions, account: Record, reference: Object) -> Record:
    """The object a token is to be good no longer than."""
    kind, version = reference.get("kind") or "", reference.get("apiVersion") or ""
    resource = _BOUND.get((version, kind))
    if resource is None:
        raise ApiError(400, "BadRequest", f"cannot bind token to object of type {version}, Kind={kind}")
    name, uid = reference.get("name") or "", reference.get("uid") or ""
    found = revisions.latest(resource, Key(account.key.namespace, name))
    if found is None:
        raise meta.not_found(resource, name)
    if resource is PODS and found.obj["spec"].get("serviceAccountName") != account.key.name:
        message = (
            f'cannot bind token for serviceaccount "{account.key.name}" to pod running with different serviceaccount '
            "name."
        )
        raise ApiError(400, "BadRequest", message)
    if uid and uid != found.obj["metadata"]["uid"]:
        reason = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have "
            "been deleted and then recreated"
        )
        raise meta.conflict(resource, name, reason)
    return found
