"""agnhost connect: whether a connection can be made, told by a word on standard error.

Flags, words and exit code as in kubernetes `test/images/agnhost/connect`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence

from fairway.kubelet.programs.flags import UsageError, parse_flags
from fairway.kubelet.programs.raw import sctp_socket
from fairway.kubelet.programs.whoami import duration_s

_ZERO = ("0", "0s")
_MAX_ANSWER = 1024

Address = tuple[socket.AddressFamily, tuple[str, int]]


class Failed(Exception):
    """It cannot be made; the text begins with UNKNOWN, TIMEOUT, DNS, REFUSED or OTHER."""


def run_connect(arguments: Sequence[str]) -> int:
    """0, or 1 after a line on standard error."""
    known = {"timeout": "0s", "protocol": "tcp", "udp-data": "hostname", "sctp-data": "hostname"}
    flags, rest = parse_flags(arguments, known)
    if len(rest) != 1:
        raise UsageError(f"accepts 1 arg(s), received {len(rest)}")
    timeout_s = duration_s(flags["timeout"])
    if timeout_s == 0 and flags["timeout"] not in _ZERO:
        raise UsageError(f'invalid argument "{flags["timeout"]}" for "--timeout" flag: want a duration such as 3s')
    protocol = flags["protocol"] or "tcp"
    if protocol not in _PROTOCOLS:
        print(f"Unsupported protocol\n{protocol}", file=sys.stderr)
        return 1
    try:
        _PROTOCOLS[protocol](rest[0], timeout_s or None, flags.get(f"{protocol}-data", ""))
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def _tcp(destination: str, timeout_s: float | None, _: str) -> None:
    family, address = _resolve(destination, without_port="UNKNOWN")
    try:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(address)
    except TimeoutError:  # also ETIMEDOUT, where the kernel gives up
        raise Failed("TIMEOUT") from None
    except ConnectionRefusedError:
        raise Failed("REFUSED") from None
    except OSError as error:
        raise Failed(f"OTHER: dial tcp {destination}: {error.strerror or error}") from None


def _udp(destination: str, timeout_s: float | None, data: str) -> None:
    """It sends a line, and wants an answer."""
    family, address = _resolve(destination)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout_s)
            client.connect(address)
            client.send(f"{data}\n".encode())
            answer = client.recv(_MAX_ANSWER)
    except TimeoutError:
        raise Failed(f"TIMEOUT: read udp {destination}: i/o timeout") from None
    except ConnectionRefusedError:
        raise Failed(f"REFUSED: read udp {destination}: connection refused") from None
    except OSError as error:
        raise Failed(f"UNKNOWN: udp {destination}: {error.strerror or error}") from None
    if not answer:
        raise Failed("OTHER: the server's answer is empty: whether the request has come cannot be told")


def _sctp(destination: str, timeout_s: float | None, data: str) -> None:
    family, address = _resolve(destination)
    try:
        with sctp_socket(family) as client:
            client.settimeout(timeout_s)
            client.connect(address)
            client.sendall(f"{data}\n".encode())
            client.recv(_MAX_ANSWER)
    except TimeoutError:
        raise Failed("TIMEOUT") from None
    except OSError as error:
        raise Failed(f"OTHER: {error.strerror or error}") from None


def _resolve(destination: str, *, without_port: str = "DNS") -> Address:
    """The first address of HOST:PORT. Raises Failed; without_port: its word where there is no port."""
    host, colon, port = destination.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        what = "missing port in address" if not colon else "too many colons in address"
        raise Failed(f"{without_port}: address {destination}: {what}")
    if not port.isdecimal() or int(port) > 65535:
        raise Failed(f"DNS: address {destination}: invalid port")
    try:
        found = socket.getaddrinfo(host.strip("[]") or "localhost", int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failed(f"DNS: lookup {host}: {getattr(error, 'strerror', None) or error}") from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


_PROTOCOLS: dict[str, Callable[[str, float | None, str], None]] = {"tcp": _tcp, "udp": _udp, "sctp": _sctp}
