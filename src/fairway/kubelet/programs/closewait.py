"""agnhost net: the two ends of a TCP connection that one of them has half closed.

Runners, options and answers as in kubernetes `test/images/agnhost/net`: `nat-closewait-server` sends its FIN and keeps
the connection, `nat-closewait-client` stays in CLOSE_WAIT for a while.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairway.kubelet.programs.echo import write_line
from fairway.kubelet.programs.flags import (
    GO_SIGNALLED,
    UsageError,
    catch_end,
    no_arguments,
    parse_flags,
    wait_for_end,
)
from fairway.kubelet.programs.threaded import Exchange, Service

_leaked: list[socket.socket] = []
"""Connections that stay open as long as the process lives, as LeakConnection asks."""

Say = Callable[[str], None]


def run_net(arguments: Sequence[str]) -> int:
    """Run a runner, or serve `POST /run/RUNNER` until SIGTERM. Exit code 1 when a runner fails."""
    flags, rest = parse_flags(arguments, {"serve": "", "runner": "", "options": "", "delay-shutdown": "0"})
    no_arguments(rest)
    if not flags["serve"] and not flags["runner"]:
        raise UsageError("must set either --runner or --serve")
    if not flags["delay-shutdown"].isdecimal():
        raise UsageError(f'invalid argument "{flags["delay-shutdown"]}" for "--delay-shutdown" flag: want seconds')
    if not flags["serve"]:
        failure, said = execute(flags["runner"], flags["options"])
        if failure:
            write_line(f"Error: {failure}")
        write_line(f"output:\n\n{said}")
        return 1 if failure else 0
    _, port = _address(flags["serve"])
    ends = catch_end()
    Service(port, _answer).begin()
    write_line(f"Running server on {flags['serve']}")
    delay_s = float(flags["delay-shutdown"])
    return wait_for_end(ends, delay_s, 0 if delay_s else GO_SIGNALLED)


def _answer(exchange: Exchange) -> None:
    empty, run, name = [*exchange.path.partition("?")[0].split("/", 2), "", ""][:3]
    if empty or run != "run" or not name or "/" in name:
        exchange.answer(f"invalid request to run: {exchange.path}\n", 400)
        return
    failure, said = execute(name, exchange.body.decode("utf-8", "replace"))
    if failure:
        exchange.answer(f"Error from runner: {failure}\noutput:\n\n{said}", 500)
    else:
        exchange.answer(f"ok\noutput:\n\n{said}")


def execute(name: str, options: str) -> tuple[str, str]:
    """Why a runner failed, "" if it did not, and what it said. options: its own, as JSON."""
    said: list[str] = []
    try:
        runner = _RUNNERS.get(name)
        if runner is None:
            raise UsageError(f"Invalid runner: '{name}'; there are {', '.join(_RUNNERS)}")
        chosen = json.loads(options)
        if not isinstance(chosen, dict):
            raise UsageError("Invalid options JSON: want an object")
        runner(chosen, lambda text: said.append(f"# {text}\n"))
    except json.JSONDecodeError as error:
        return f"Invalid options JSON: {error}", "".join(said)
    except (UsageError, OSError) as error:
        return str(error), "".join(said)
    return "", "".join(said)


def serve_half_closed(options: Mapping[str, Any], say: Say) -> None:
    """LocalAddr, PostFinTimeoutSeconds."""
    host, port = _address(str(options.get("LocalAddr", "")))
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    with socket.create_server((host, port), family=family, dualstack_ipv6=not host) as listener:
        say(f"Server listening on {options.get('LocalAddr', '')}")
        connection, _ = listener.accept()
    with connection:
        say("Client connected")
        connection.shutdown(socket.SHUT_WR)
        wait_s = _seconds(options, "PostFinTimeoutSeconds")
        say(f"Server sent FIN, waiting {wait_s:g} seconds")
        threading.Event().wait(wait_s)
    say("Done")


def stay_half_closed(options: Mapping[str, Any], say: Say) -> None:
    """RemoteAddr, TimeoutSeconds, PostFinTimeoutSeconds, LeakConnection."""
    connection = socket.create_connection(_address(str(options.get("RemoteAddr", ""))))
    try:
        say("Connected to server")
        connection.settimeout(_seconds(options, "TimeoutSeconds") or None)
        if connection.recv(1):
            raise OSError("Got data but expected EOF")
        wait_s = _seconds(options, "PostFinTimeoutSeconds")
        say(f"Server has half-closed the connection, waiting {wait_s:g} seconds")
        if options.get("LeakConnection"):
            say("Leaking client connection")
            _leaked.append(connection)
        threading.Event().wait(wait_s)
    finally:
        if connection not in _leaked:
            connection.close()
    say("Done")


def _seconds(options: Mapping[str, Any], name: str) -> float:
    value = options.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"Invalid options JSON: {name}: want seconds")
    return float(value)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"address {text!r}: want HOST:PORT")
    return host.strip("[]"), int(port)


_RUNNERS: Mapping[str, Callable[[Mapping[str, Any], Say], None]] = {
    "nat-closewait-client": stay_half_closed,
    "nat-closewait-server": serve_half_closed,
}
