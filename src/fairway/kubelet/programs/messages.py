"""HTTP/1.1 messages for the programs: bytes in, requests out. No I/O.

RFC 9112, read strictly where a lenient reading lets two readers disagree (request smuggling): one length only, no
folded headers, no bare CR in a header. Limits are those of Node.js, which the echo image runs on.
"""

from __future__ import annotations

MAX_HEAD_BYTES = 16 * 1024
"""Node.js `--max-http-header-size`."""
MAX_BODY_BYTES = 16 * 1024 * 1024
"""The image has no limit; a pod of the lab has one so that its memory has one."""

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

PHRASES = {
    100: "Continue",
    101: "Switching Protocols",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Payload Too Large",
    418: "I'm a Teapot",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class MessageError(Exception):
    """What came is no request; `status` is the answer before the connection is closed."""

    def __init__(self, status: int) -> None:
        super().__init__(PHRASES[status])
        self.status = status


class Request:
    """One request. headers: names as they came, in order. peer: address and port of the other end."""

    __slots__ = ("body", "headers", "method", "peer", "target", "version")

    def __init__(
        self, method: str, target: str, version: str, headers: list[tuple[str, str]], peer: tuple[str, int]
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.body = b""
        self.peer = peer

    def header(self, name: str) -> str:
        """The first value of a header given in lower case; "" if there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def keep_alive(self) -> bool:
        wishes = [wish.strip().lower() for wish in self.header("connection").split(",")]
        if self.version == "1.0":
            return "keep-alive" in wishes
        return "close" not in wishes


class Response:
    """An answer. delay_s: hold it back so long."""

    __slots__ = ("body", "content_type", "delay_s", "status")

    def __init__(
        self, body: bytes, *, status: int = 200, content_type: str = "text/plain; charset=utf-8", delay_s: float = 0.0
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.delay_s = delay_s

    def encode(self, request: Request, date: str, *, keep_alive: bool, idle_s: int) -> bytes:
        """As sent; a HEAD request and a status without content get no body."""
        bodiless = self.status < 200 or self.status in (204, 304)
        lines = [f"HTTP/1.1 {self.status} {PHRASES.get(self.status, 'Unknown')}"]
        if not bodiless:
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(self.body)}"]
        lines += [f"Date: {date}", f"Connection: {'keep-alive' if keep_alive else 'close'}"]
        if keep_alive:
            lines.append(f"Keep-Alive: timeout={idle_s}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        return head if bodiless or request.method == "HEAD" else head + self.body


class RequestReader:
    """Cuts the bytes of one connection into requests."""

    def __init__(self, peer: tuple[str, int]) -> None:
        self._peer = peer
        self._buffer = bytearray()
        self._scanned = 0
        self._request: Request | None = None
        self._left = 0
        self._chunks: bytearray | None = None
        self.expects_continue = False

    @property
    def idle(self) -> bool:
        """Nothing of a next request has come."""
        return self._request is None and not self._buffer

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """The next whole request, None while there is none. Raises MessageError; nothing more is to be read then."""
        if self._request is None:
            self._request = self._head()
            if self._request is None:
                return None
            self._begin_body(self._request)
        body = self._body()
        if body is None:
            return None
        request, self._request = self._request, None
        request.body = body
        self.expects_continue = False
        return request

    def _head(self) -> Request | None:
        while self._buffer[:2] == b"\r\n":  # RFC 9112 2.2: an empty line before a request is ignored
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > MAX_HEAD_BYTES:
                raise MessageError(431)
            self._refuse_garbage()
            return None
        if end > MAX_HEAD_BYTES:
            raise MessageError(431)
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._scanned = 0
        return self._parse(head)

    def _refuse_garbage(self) -> None:
        """A method is a token: what does not begin like one need not be waited for."""
        start = self._buffer[:32].split(b" ", 1)[0].rstrip(b"\r")
        if not _TOKEN.issuperset(start):
            raise MessageError(400)

    def _parse(self, head: bytes) -> Request:
        first, *lines = head.split(b"\r\n")
        parts = first.split(b" ")
        if len(parts) != 3 or not parts[0] or not _TOKEN.issuperset(parts[0]) or not parts[1]:
            raise MessageError(400)
        if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise MessageError(400)
        headers = [self._header(line) for line in lines]
        request = Request(
            parts[0].decode("ascii"), parts[1].decode("latin-1"), parts[2][5:].decode("ascii"), headers, self._peer
        )
        hosts = sum(1 for name, _ in headers if name.lower() == "host")
        if hosts > 1 or (not hosts and request.version == "1.1"):
            raise MessageError(400)
        return request

    def _header(self, line: bytes) -> tuple[str, str]:
        name, colon, value = line.partition(b":")
        if not colon or not name or not _TOKEN.issuperset(name) or b"\r" in value or b"\n" in value or b"\0" in value:
            raise MessageError(400)
        return name.decode("ascii"), value.strip(b" \t").decode("latin-1")

    def _begin_body(self, request: Request) -> None:
        lengths = [value for name, value in request.headers if name.lower() == "content-length"]
        codings = [value for name, value in request.headers if name.lower() == "transfer-encoding"]
        self._left, self._chunks = 0, None
        if codings:
            if lengths or [coding.strip().lower() for coding in codings] != ["chunked"]:
                raise MessageError(400)
            self._chunks = bytearray()
        elif lengths:
            if len(lengths) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
                raise MessageError(400)
            self._left = int(lengths[0])
            if self._left > MAX_BODY_BYTES:
                raise MessageError(413)
        self.expects_continue = (
            request.header("expect").lower() == "100-continue" and request.version == "1.1" and bool(codings or lengths)
        )

    def _body(self) -> bytes | None:
        if self._chunks is not None:
            return self._chunked(self._chunks)
        if len(self._buffer) < self._left:
            return None
        body = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        return body

    def _chunked(self, chunks: bytearray) -> bytes | None:
        while True:
            end = self._buffer.find(b"\r\n", 0, 1024)
            if end < 0:
                if len(self._buffer) >= 1024:
                    raise MessageError(400)
                return None
            digits = bytes(self._buffer[:end]).split(b";", 1)[0].strip()
            if not digits or len(digits) > 8 or not frozenset(b"0123456789abcdefABCDEF").issuperset(digits):
                raise MessageError(400)
            size = int(digits, 16)
            if len(chunks) + size > MAX_BODY_BYTES:
                raise MessageError(413)
            if size == 0:
                return self._trailer(chunks, end)
            if len(self._buffer) < end + 2 + size + 2:
                return None
            if self._buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise MessageError(400)
            chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]

    def _trailer(self, chunks: bytearray, end: int) -> bytes | None:
        """Trailer fields are read and dropped."""
        tail = self._buffer.find(b"\r\n\r\n", end)
        if tail < 0:
            if len(self._buffer) > end + MAX_HEAD_BYTES:
                raise MessageError(431)
            return None
        del self._buffer[: tail + 4]
        self._chunks = None
        return bytes(chunks)
