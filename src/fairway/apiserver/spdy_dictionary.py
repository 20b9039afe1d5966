"""What the compressors of both ends of a SPDY/3 connection know from the start: data of the protocol.

Source: "SPDY Protocol - Draft 3" (chromium.org/spdy/spdy-protocol), 2.6.10.1. Its Adler-32 is e3c6a7c2.
"""

from __future__ import annotations

import struct

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_CODES = (
    *(100, 101, 201, 202, 205, 206, 300, 302, 303, 304, 305, 306, 307),
    *(402, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 502, 504, 505),
)
_PHRASES = (
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = (*_NAMES.split(), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
    counted = b"".join(struct.pack(">I", len(word)) + word.encode() for word in words)
    return counted + "".join(map(str, _CODES)).encode() + _PHRASES.encode()


DICTIONARY = _dictionary()
"""Words with their lengths before them, then text: 1423 bytes."""
