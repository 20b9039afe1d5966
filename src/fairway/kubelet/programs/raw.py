"""Servers and sockets below HTTP for programs: TCP, SCTP and UDP, each in threads of its own."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable

SCTP = 132
"""IPPROTO_SCTP (linux/in.h); Python has the name only where it was built with it."""

MAX_DATAGRAM = 65507
BACKLOG = 511
PATIENCE_S = 60
"""For a client to say something, and to take its answer."""

StreamReplier = Callable[[socket.socket, str], bytes | None]
"""What a connection is answered with; given its client as "address:port", too. None for nothing."""

Replier = Callable[[bytes, str, int], bytes | None]
"""What a datagram is answered with; its client as "address:port", and the server's own port. None for nothing."""


class NoSctp(OSError):
    """The kernel has no SCTP; the text says the way out."""

    def __init__(self) -> None:
        super().__init__("this machine's kernel has no SCTP: as root of the machine run: modprobe sctp")


def sctp_socket(family: socket.AddressFamily) -> socket.socket:
    """A one-to-one style socket (RFC 6458, section 4). Raises NoSctp."""
    try:
        return socket.socket(family, socket.SOCK_STREAM, SCTP)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise NoSctp from error
        raise


def serve_tcp(port: int, reply: StreamReplier) -> None:
    """Answer and close each connection. Raises OSError when the port is taken."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    _accept(socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=BACKLOG), reply)


def serve_sctp(port: int, reply: StreamReplier) -> None:
    """Answer and close each association. Raises OSError when the port is taken, NoSctp."""
    dual = socket.has_dualstack_ipv6()
    listener = sctp_socket(socket.AF_INET6 if dual else socket.AF_INET)
    if dual:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("", port))
    listener.listen(BACKLOG)
    _accept(listener, reply)


def _accept(listener: socket.socket, reply: StreamReplier) -> None:
    def answer(connection: socket.socket, client: str) -> None:
        try:
            with connection:
                connection.settimeout(PATIENCE_S)
                if (data := reply(connection, client)) is not None:
                    connection.sendall(data)
        except OSError:  # the client is gone
            pass

    def accept() -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:  # the client is gone again
                continue
            threading.Thread(target=answer, args=(connection, client_text(peer)), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def serve_udp(address: str, port: int, reply: Replier) -> None:
    """Answer datagrams; address "" for all. Raises OSError when the port is taken."""
    dual = not address and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM)
    if dual:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind((address, port))

    def answer() -> None:
        while True:
            try:
                datagram, peer = server.recvfrom(MAX_DATAGRAM)
                if (data := reply(datagram, client_text(peer), port)) is not None:
                    server.sendto(data, peer)
            except OSError:  # an ICMP error of an earlier answer, or a client that cannot be reached
                pass

    threading.Thread(target=answer, daemon=True).start()


def client_text(peer: tuple[str, int]) -> str:
    """As Go writes it, without what a socket of both families puts before an IPv4 address (RFC 4291, 2.5.5.2)."""
    host = peer[0].removeprefix("::ffff:") if "." in peer[0] else peer[0]
    return f"[{host}]:{peer[1]}" if ":" in host else f"{host}:{peer[1]}"
