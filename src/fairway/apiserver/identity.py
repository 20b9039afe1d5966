"""Who a client is, from its certificate or its token (apiserver `authentication/request/{x509,bearertoken}`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fairway.apiserver.request import User


def user_of(certificate: Mapping[str, Any] | None) -> User | None:
    """The user of a verified peer certificate as `ssl.SSLSocket.getpeercert` gives it; None without one.

    The common name is the user, each organisation a group; a certificate without a common name is nobody's.
    """
    if not certificate:
        return None
    attributes = list(_attributes(certificate.get("subject", ())))
    names = [value for name, value in attributes if name == "commonName"]
    if not names:
        return None
    groups = tuple(value for name, value in attributes if name == "organizationName")
    return User(name=names[0], groups=groups)


def bearer_token(authorization: str) -> str:
    """The token in an Authorization header (RFC 6750, section 2.1); "" where there is none."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _attributes(subject: Iterable[Iterable[tuple[str, str]]]) -> Iterable[tuple[str, str]]:
    for relative_name in subject:
        yield from relative_name
