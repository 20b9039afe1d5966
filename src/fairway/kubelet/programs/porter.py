"""agnhost porter: each variable SERVE_PORT_N is the answer of a server on port N.

Variables and flags as in kubernetes `test/images/agnhost/porter`: SERVE_PORT_N and SERVE_TCP_PORT_N over HTTP,
SERVE_TLS_PORT_N over HTTPS with $CERT_FILE and $KEY_FILE, SERVE_UDP_PORT_N, SERVE_SCTP_PORT_N.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence

from fairway.kubelet.programs.echo import write_line
from fairway.kubelet.programs.flags import GO_SIGNALLED, catch_end, no_arguments, parse_flags, wait_for_end
from fairway.kubelet.programs.raw import serve_sctp, serve_udp
from fairway.kubelet.programs.threaded import Exchange, Service, tls_context

_VARIABLE = re.compile(r"SERVE_(?:(TCP|UDP|TLS|SCTP)_)?PORT_(\d{1,5})")
_NO_CERTIFICATE = "the image's own certificate is not in this lab: set CERT_FILE and KEY_FILE"


def run_porter(arguments: Sequence[str]) -> int:
    """Until SIGTERM; a port that cannot be served is named, and the others are served all the same."""
    flags, rest = parse_flags(arguments, {"json-response": "false"})
    no_arguments(rest)
    ends = catch_end()
    for name, value in sorted(os.environ.items()):
        if match := _VARIABLE.fullmatch(name):
            try:
                _serve(match[1] or "TCP", int(match[2]), value, as_json=flags["json-response"] == "true")
            except (OSError, OverflowError) as error:
                write_line(f"{name}: not served: {error}")
    return wait_for_end(ends, 0, GO_SIGNALLED)


def _serve(kind: str, port: int, value: str, *, as_json: bool) -> None:
    if kind == "UDP":
        serve_udp("", port, lambda *_: value.encode())
    elif kind == "SCTP":
        serve_sctp(port, lambda *_: value.encode())
    else:
        tls = None
        if kind == "TLS":
            certificate, key = os.environ.get("CERT_FILE", ""), os.environ.get("KEY_FILE", "")
            if not certificate:
                raise OSError(_NO_CERTIFICATE)
            tls = tls_context(certificate, key)
        Service(port, _answer(value, as_json=as_json), tls=tls).begin()
    write_line(f"Started {kind} server on port {port}")


def _answer(value: str, *, as_json: bool) -> Callable[[Exchange], None]:
    def answer(exchange: Exchange) -> None:
        if as_json:
            said = json.dumps({"Method": exchange.command, "Body": value}, separators=(",", ":"), ensure_ascii=False)
            exchange.answer(said, content_type="application/json")
        else:
            exchange.answer(value)

    return answer
