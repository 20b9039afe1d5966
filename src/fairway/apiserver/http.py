"""Between aiohttp and requests and answers as values."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Sequence

from aiohttp import web
from multidict import CIMultiDict

from fairway.api.status import ApiError
from fairway.apiserver.bodies import MAX_BYTES
from fairway.apiserver.request import Request, Response, User

_GZIP_FROM = 128 * 1024
"""Smaller answers are not worth compressing (apiserver `endpoints/handlers/responsewriters`)."""
_GZIP_LEVEL = 1


async def read_request(http: web.Request, user: User | None) -> Request:
    """The request with its whole body. Raises ApiError 413 where that is too large."""
    try:
        body = await http.read()
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {MAX_BYTES}"
        raise ApiError(413, "RequestEntityTooLarge", message, details={}) from None
    query = http.rel_url.query
    return Request(
        method=http.method,
        path=http.path,
        query={name: tuple(query.getall(name)) for name in query},
        content_type=http.headers.get("Content-Type", ""),
        accept=",".join(http.headers.getall("Accept", [])),
        user_agent=http.headers.get("User-Agent", ""),
        if_none_match=http.headers.get("If-None-Match", ""),
        body=body,
        user=user,
    )


async def send(http: web.Request, answer: Response) -> web.Response:
    """A whole answer, compressed where it is large and the client wants that."""
    headers = headers_of(answer.content_type, answer.warnings)
    headers.update(answer.headers)
    body = answer.body
    if len(body) >= _GZIP_FROM and "gzip" in http.headers.get("Accept-Encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
        headers["Content-Encoding"] = "gzip"
        headers["Vary"] = "Accept-Encoding"
    return web.Response(status=answer.code, body=body, headers=headers)


def refuse(answer: Response) -> web.Response:
    """A failure. What is left of a body nobody will read must not be taken for the next request."""
    headers = headers_of(answer.content_type, answer.warnings)
    headers.update(answer.headers)
    response = web.Response(status=answer.code, body=answer.body, headers=headers)
    if answer.code == 413:
        response.force_close()
    return response


def headers_of(content_type: str, warnings: Sequence[str]) -> CIMultiDict[str]:
    """Headers of every answer."""
    headers = CIMultiDict({"Content-Type": content_type, "Cache-Control": "no-cache, private"})
    for text in warnings:
        headers.add("Warning", warning_header(text))
    return headers


def warning_header(text: str) -> str:
    """`299 - "text"`: a quoted string without control characters (RFC 7234 5.5, apimachinery `util/net`)."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
