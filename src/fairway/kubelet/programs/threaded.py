"""An HTTP server that answers each client in a thread of its own, for programs whose answers wait for others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl import SSLContext  # loaded only where it is used: most programs speak plain HTTP

from fairway.kubelet.programs.httpd import BACKLOG, MAX_CONNECTIONS, REQUEST_TIMEOUT_S

MAX_BODY_BYTES = 1 << 20


class Exchange(BaseHTTPRequestHandler):
    """One client's requests. body: what came with the present one."""

    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S
    body: bytes
    server: Service

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self.answer(b"the body is too long\n", 413)
            return
        self.body = self.rfile.read(int(length))
        self.server.handler(self)

    do_POST = do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815 - the base class looks for these names

    def answer(
        self,
        body: str | bytes,
        status: int = 200,
        *,
        content_type: str = "text/plain; charset=utf-8",
        location: str = "",
    ) -> None:
        """Send the one answer to a request."""
        data = body.encode("utf-8", "replace") if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def client(self) -> str:
        """The other end as "address:port"."""
        host = str(self.client_address[0])
        host = host.removeprefix("::ffff:") if "." in host else host
        return f"[{host}]:{self.client_address[1]}" if ":" in host else f"{host}:{self.client_address[1]}"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class names it
        """Nothing: a program logs what it wants."""


class Service(ThreadingHTTPServer):
    """Serves a port on every address, of both families where the machine has them. Raises OSError when it is taken."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, port: int, handler: Callable[[Exchange], None], *, tls: SSLContext | None = None) -> None:
        """tls: for HTTPS."""
        self.handler = handler
        self._tls = tls
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        dual = socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if dual else socket.AF_INET
        super().__init__(("::" if dual else "", port), Exchange)

    def server_bind(self) -> None:
        """Without the base class's look-up of the machine's own name."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """More clients than there is room for wait."""
        self._room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the client's own thread, where a slow handshake keeps nobody waiting."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(REQUEST_TIMEOUT_S)
        with self._tls.wrap_socket(request, server_side=True) as secure:
            super().finish_request(secure, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""

    def begin(self) -> None:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


def tls_context(certificate: str, key: str) -> SSLContext:
    """A server's certificate and key, PEM files. Raises OSError, naming them, for what is none."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key or None)
    except OSError as error:  # SSLError is one
        raise OSError(f"TLS certificate {certificate}, key {key or certificate}: {error.strerror or error}") from error
    return context
