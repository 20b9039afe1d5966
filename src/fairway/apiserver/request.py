"""A request and its answer as values, without HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.apiserver.watching import WatchStream


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks. Of a client certificate: the common name, and its organisations as groups."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request.

    path: decoded, without the query. query: all values of each parameter, in order. content_type, accept: the
    headers as sent, "" where missing.
    """

    method: str
    path: str
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content_type: str = ""
    accept: str = ""
    user_agent: str = ""
    if_none_match: str = ""
    body: bytes = b""
    user: User | None = None

    def first(self, name: str) -> str:
        """The first value of a query parameter, "" without one."""
        values = self.query.get(name)
        return values[0] if values else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer. warnings: texts for `Warning: 299` headers (RFC 7234 5.5)."""

    code: int
    body: bytes
    content_type: str = "application/json"
    warnings: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResponse:
    """A watch: the server keeps sending what `stream` yields."""

    stream: WatchStream
    content_type: str
    warnings: tuple[str, ...] = ()
