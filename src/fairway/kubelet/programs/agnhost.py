"""The image agnhost of Kubernetes' own tests: connect, netexec, pause, porter and serve-hostname.

Flags and answers as in kubernetes `test/images/agnhost`; flags it has and this has not are named on standard error, as
are subcommands.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

from fairway.kubelet.programs import netexec
from fairway.kubelet.programs.echo import write_line
from fairway.kubelet.programs.threaded import Exchange, Service
from fairway.kubelet.programs.whoami import duration_s

GO_SIGNALLED = 2
"""Exit code of a Go program without a handler that is process 1 and gets SIGTERM."""


class UsageError(Exception):
    """The arguments are not what the subcommand takes."""


def parse_flags(arguments: Sequence[str], known: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Flags as pflag reads them (`--a=b`, `--a b`; a switch is one whose default is "true" or "false"), and the rest.

    Raises UsageError for one that is not known or has no value.
    """
    flags, rest = dict(known), []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith("-"):
            rest.append(argument)
            continue
        name, equals, value = argument.lstrip("-").partition("=")
        if name not in known:
            raise UsageError(f"unknown flag: --{name}")
        if not equals and known[name] in ("true", "false"):
            value = "true"
        elif not equals:
            if not left:
                raise UsageError(f"flag needs an argument: --{name}")
            value = left.pop(0)
        flags[name] = value
    return flags, rest


def _port(flags: dict[str, str], name: str) -> int:
    text = flags[name]
    if not text.lstrip("-").isdecimal() or int(text) > 65535:
        raise UsageError(f'invalid argument "{text}" for "--{name}" flag: no port')
    return int(text)


def catch_end() -> threading.Event:
    """Set by SIGTERM and SIGINT from now on, also by one that has waited, blocked. Before any thread begins."""
    ends = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ends.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return ends


def wait_for_end(ends: threading.Event, delay_s: float, code: int) -> int:
    """Until it is set, and so long after it; the exit code."""
    ends.wait()
    if delay_s > 0:
        write_line(f"Sleeping {delay_s:g} seconds before terminating...")
        threading.Event().wait(delay_s)
    return code


def run_netexec(arguments: Sequence[str]) -> int:
    flags, _ = parse_flags(
        arguments,
        {
            "http-port": "8080",
            "udp-port": "8081",
            "sctp-port": "-1",
            "udp-listen-addresses": "",
            "delay-shutdown": "0",
        },
    )
    if _port(flags, "sctp-port") >= 0:
        write_line(f"no SCTP server: nothing listens on port {flags['sctp-port']}, this agnhost speaks HTTP and UDP")
    if not flags["delay-shutdown"].isdecimal():
        raise UsageError(f'invalid argument "{flags["delay-shutdown"]}" for "--delay-shutdown" flag: want seconds')
    ends = catch_end()
    addresses = [address for address in flags["udp-listen-addresses"].split(",") if address]
    netexec.begin(_port(flags, "http-port"), _port(flags, "udp-port"), addresses)
    delay_s = float(flags["delay-shutdown"])
    return wait_for_end(ends, delay_s, 0 if delay_s else GO_SIGNALLED)


def run_serve_hostname(arguments: Sequence[str]) -> int:
    flags, _ = parse_flags(
        arguments, {"port": "9376", "http": "true", "tcp": "false", "udp": "false", "close": "false"}
    )
    port, ends = _port(flags, "port"), catch_end()
    if flags["tcp"] == "true" and flags["http"] == "true":
        flags["http"] = "false"  # both are on one port: what was asked for wins over the default
    if flags["udp"] == "true":
        netexec.serve_udp_with(lambda *_: socket.gethostname().encode(), "", port)
    if flags["tcp"] == "true":
        _serve_tcp(port)
    if flags["http"] == "true":
        Service(port, lambda exchange: exchange.answer(socket.gethostname())).begin()
    write_line(f"Serving hostname on port {port}")
    return wait_for_end(ends, 0, GO_SIGNALLED)


def _serve_tcp(port: int) -> None:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual)

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(socket.gethostname().encode())
            except OSError:  # the client is gone
                pass

    threading.Thread(target=answer, daemon=True).start()


def run_connect(arguments: Sequence[str]) -> int:
    """Whether a connection can be made: nothing, or TIMEOUT, REFUSED, DNS or OTHER on standard error and 1."""
    flags, rest = parse_flags(arguments, {"timeout": "5s", "protocol": "tcp"})
    if len(rest) != 1 or ":" not in rest[0] or not rest[0].rpartition(":")[2].isdecimal():
        raise UsageError("accepts 1 arg(s): HOST:PORT")
    if flags["protocol"] not in ("", "tcp"):
        print(f"OTHER: unsupported protocol {flags['protocol']}", file=sys.stderr)
        return 1
    host, _, port = rest[0].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), duration_s(flags["timeout"]) or None).close()
    except TimeoutError:
        failure = "TIMEOUT"
    except ConnectionRefusedError:
        failure = "REFUSED"
    except socket.gaierror as error:
        failure = f"DNS: {error}"
    except (OSError, OverflowError) as error:
        failure = f"OTHER: {error}"
    else:
        return 0
    print(failure, file=sys.stderr)
    return 1


def run_pause(arguments: Sequence[str]) -> int:
    parse_flags(arguments, {})
    ends = catch_end()
    write_line("Paused")
    return wait_for_end(ends, 0, 0)


def run_porter(arguments: Sequence[str]) -> int:
    """On each port N with a variable SERVE_PORT_N its value is the answer to all; TLS and SCTP are not served."""
    parse_flags(arguments, {})
    ends = catch_end()
    for name, value in sorted(os.environ.items()):
        kind, _, port = name.rpartition("_PORT_")
        if kind == "SERVE" and port.isdecimal():
            Service(int(port), partial(_say, value)).begin()
        elif kind in ("SERVE_TLS", "SERVE_SCTP"):
            write_line(f"{name}: not served, this agnhost speaks plain HTTP alone")
    return wait_for_end(ends, 0, GO_SIGNALLED)


def _say(text: str, exchange: Exchange) -> None:
    exchange.answer(text)


SUBCOMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "connect": run_connect,
    "netexec": run_netexec,
    "pause": run_pause,
    "porter": run_porter,
    "serve-hostname": run_serve_hostname,
}


def main(arguments: list[str]) -> int:
    """Run a subcommand to its end. Exit code 1 when there is none such, its flags are wrong or a port is taken."""
    name, rest = (arguments or ["pause"])[0], arguments[1:]
    run = SUBCOMMANDS.get(name)
    try:
        if run is None:
            raise UsageError(f'unknown command "{name}" for "app"; this agnhost has {", ".join(SUBCOMMANDS)}')
        return run(rest)
    except (UsageError, OSError, OverflowError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
