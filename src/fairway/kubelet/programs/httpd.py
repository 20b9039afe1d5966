"""A small HTTP server for the programs: one thread, epoll, keep-alive, bounded for each client and in all."""

from __future__ import annotations

import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from fairway.kubelet.programs.messages import PHRASES, MessageError, Request, RequestReader, Response

KEEP_ALIVE_S = 5
"""Node.js `server.keepAliveTimeout`."""
REQUEST_TIMEOUT_S = 60
"""For a request to come in whole and for an answer to be taken (Node.js `server.headersTimeout`)."""
MAX_CONNECTIONS = 1000
"""More wait in the kernel's backlog."""
BACKLOG = 511
"""As Node.js listens."""
MAX_PENDING_BYTES = 1 << 20
"""With so much of its answers not taken yet, a client's next requests are not read."""

_READ_BYTES = 64 * 1024

Handler = Callable[[Request], Response]
AccessLog = Callable[[Request, Response], None]


class _Connection:
    """One client: what it sent, what it has still to take, and until when it has time."""

    __slots__ = ("closing", "deadline", "delayed", "events", "out", "reader", "sock")

    def __init__(self, sock: socket.socket, peer: tuple[str, int], now: float) -> None:
        self.sock = sock
        self.reader = RequestReader(peer)
        self.out = bytearray()
        self.deadline = now + REQUEST_TIMEOUT_S
        self.delayed: tuple[float, Request, Response] | None = None
        self.closing = False
        self.events = select.EPOLLIN


class Server:
    """Serves one listening socket until `stop` and then to the end of the answers under way."""

    def __init__(self, listener: socket.socket, handler: Handler, *, access_log: AccessLog | None = None) -> None:
        self._listener: socket.socket | None = listener
        self._handler = handler
        self._access_log = access_log
        self._connections: dict[int, _Connection] = {}
        self._epoll = select.epoll()
        # Sockets and no pipe: one that is closed while another thread calls `stop` is no other file's number.
        self._wake_read, self._wake_write = socket.socketpair()
        for end in (self._wake_read, self._wake_write):
            end.setblocking(False)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        listener.setblocking(False)
        self._listening = False
        self._stopping = False

    def stop(self) -> None:
        """Take no more connections; `run` returns once the answers under way are sent. A signal handler may call it."""
        self._stopping = True
        with suppress(OSError):  # `run` has ended, or it is full of others' words
            self._wake_write.send(b"x")

    def run(self) -> None:
        """Serve until stopped."""
        try:
            while self._listener is not None or self._busy():
                self._step()
        finally:
            for connection in list(self._connections.values()):
                self._drop(connection)
            self._close_listener()
            self._epoll.close()
            self._wake_write.close()
            self._wake_read.close()

    def _busy(self) -> bool:
        """An answer is being made or sent, or a request is half there."""
        return any(c.out or c.delayed or not c.reader.idle for c in self._connections.values())

    def _step(self) -> None:
        # What had come before the end is still read: the connections just taken from the backlog, too.
        ending = self._stopping and self._listener is not None
        self._listen(ending)
        for fd, event in self._epoll.poll(0 if ending else self._wait_s()):
            if self._listener is not None and fd == self._listener.fileno():
                self._accept()
            elif fd == self._wake_read.fileno():
                self._wake_read.recv(1024)
            elif (connection := self._connections.get(fd)) is not None:
                self._serve(connection, event)
        self._expire(time.monotonic())
        if ending:
            self._close_listener()

    def _listen(self, ending: bool) -> None:
        """Listen while there is room; at the end take what waits in the backlog."""
        if self._listener is None:
            return
        if ending:
            self._accept()
            return
        room = len(self._connections) < MAX_CONNECTIONS
        if room != self._listening:
            self._listening = room
            if room:
                self._epoll.register(self._listener, select.EPOLLIN)
            else:
                self._epoll.unregister(self._listener)

    def _close_listener(self) -> None:
        """New clients are refused from here on."""
        if self._listener is not None:
            if self._listening:
                self._epoll.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _wait_s(self) -> float:
        """Until the next deadline; -1 for as long as it takes."""
        moments = [c.delayed[0] if c.delayed else c.deadline for c in self._connections.values()]
        return max(0.0, min(moments) - time.monotonic()) if moments else -1

    def _accept(self) -> None:
        assert self._listener is not None
        while len(self._connections) < MAX_CONNECTIONS:
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # the client has gone again, or no descriptor is left: the others go on
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[sock.fileno()] = _Connection(sock, (_plain(address[0]), address[1]), time.monotonic())
            self._epoll.register(sock, select.EPOLLIN)

    def _serve(self, connection: _Connection, event: int) -> None:
        try:
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                data = connection.sock.recv(_READ_BYTES)
                if not data:
                    self._drop(connection)
                    return
                if connection.reader.idle:
                    connection.deadline = time.monotonic() + REQUEST_TIMEOUT_S
                connection.reader.feed(data)
            self._answer(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)

    def _answer(self, connection: _Connection) -> None:
        """Answer what has come, in order, as far as the client takes the answers."""
        while not (connection.closing or connection.delayed) and len(connection.out) < MAX_PENDING_BYTES:
            try:
                request = connection.reader.next()
            except MessageError as error:
                connection.out += (
                    f"HTTP/1.1 {error.status} {PHRASES[error.status]}\r\nConnection: close\r\n\r\n".encode()
                )
                connection.closing = True
                break
            if request is None:
                if connection.reader.expects_continue:
                    connection.reader.expects_continue = False
                    connection.out += b"HTTP/1.1 100 Continue\r\n\r\n"
                break
            response = self._handle(request)
            if response.delay_s > 0:
                connection.delayed = (time.monotonic() + response.delay_s, request, response)
            else:
                self._send(connection, request, response)
        self._flush(connection)

    def _handle(self, request: Request) -> Response:
        try:
            return self._handler(request)
        except Exception as error:  # one request must not end the server
            return Response(f"{type(error).__name__}: {error}\n".encode(), status=500)

    def _send(self, connection: _Connection, request: Request, response: Response) -> None:
        keep_alive = request.keep_alive and not self._stopping
        connection.out += response.encode(request, http_date(time.time()), keep_alive=keep_alive, idle_s=KEEP_ALIVE_S)
        connection.closing = not keep_alive
        if self._access_log is not None:
            self._access_log(request, response)

    def _flush(self, connection: _Connection) -> None:
        if connection.out:
            try:
                sent = connection.sock.send(connection.out)
            except BlockingIOError:
                sent = 0
            del connection.out[:sent]
            if sent:
                connection.deadline = time.monotonic() + REQUEST_TIMEOUT_S
        if connection.out:
            self._watch(connection, select.EPOLLOUT)
        elif connection.closing:
            self._finish(connection)
        else:
            if connection.reader.idle and not connection.delayed:
                connection.deadline = time.monotonic() + KEEP_ALIVE_S
            self._watch(connection, 0 if connection.delayed else select.EPOLLIN)

    def _watch(self, connection: _Connection, events: int) -> None:
        if events != connection.events:
            connection.events = events
            self._epoll.modify(connection.sock, events)

    def _finish(self, connection: _Connection) -> None:
        """Close after the last answer, without a reset that would cost the client that answer."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            while connection.sock.recv(_READ_BYTES):
                pass
        except OSError:
            pass
        self._drop(connection)

    def _expire(self, now: float) -> None:
        for connection in list(self._connections.values()):
            if connection.delayed is not None:
                due, request, response = connection.delayed
                if now >= due:
                    connection.delayed = None
                    self._send(connection, request, response)
                    self._resume(connection)
            elif now >= connection.deadline:
                self._drop(connection)

    def _resume(self, connection: _Connection) -> None:
        try:
            self._answer(connection)
        except OSError:
            self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        if self._connections.pop(connection.sock.fileno(), None) is not None:
            self._epoll.unregister(connection.sock)
        connection.sock.close()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """IMF-fixdate of RFC 9110 5.6.7, whatever the locale."""
    t = time.gmtime(seconds)
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} {clock} GMT"


def listen(port: int) -> socket.socket:
    """A listening socket on every address, of both families where the machine has them, as Node.js and Go listen.

    Raises OSError when the port is taken.
    """
    dual = socket.has_dualstack_ipv6()
    listener = socket.socket(socket.AF_INET6 if dual else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if dual:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        listener.bind(("", port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _plain(address: str) -> str:
    """A peer's address without what a socket of both families puts before an IPv4 one (RFC 4291, section 2.5.5.2)."""
    return address.removeprefix("::ffff:") if "." in address else address


def serve_until_signalled(server: Server) -> None:
    """Run; SIGTERM and SIGINT stop it in order, also a SIGTERM that has waited, blocked, since the program started."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    server.run()
