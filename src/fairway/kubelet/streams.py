"""The frames of `v5.channel.k8s.io`: the WebSocket subprotocol of exec.

Each binary message begins with a byte that names its channel (client-go `tools/remotecommand`, KEP-4006).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum

from fairway.api.types import Object

SUBPROTOCOL = "v5.channel.k8s.io"


class Channel(IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255
    """Followed by the number of a channel that its sender will not write to again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Bytes for the program's standard input; end: no more will come."""

    data: bytes = b""
    end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    rows: int
    columns: int


def parse(message: bytes) -> Input | Resize | None:
    """What a client's message says; None for one that says nothing to us."""
    if not message:
        return None
    channel, data = message[0], message[1:]
    if channel == Channel.STDIN:
        return Input(data=data) if data else None
    if channel == Channel.CLOSE and data[:1] == bytes([Channel.STDIN]):
        return Input(end=True)
    if channel == Channel.RESIZE:
        try:
            size = json.loads(data)
            return Resize(rows=int(size["Height"]), columns=int(size["Width"]))
        except (ValueError, KeyError, TypeError):
            return None
    return None


def frame(channel: Channel, data: bytes = b"") -> bytes:
    return bytes([channel]) + data


def success() -> Object:
    """The Status of a program that exited with 0."""
    return {"metadata": {}, "status": "Success"}


def exited(code: int) -> Object:
    """The Status of one that exited with another code (apimachinery `util/remotecommand`, NonZeroExitCodeReason)."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(message: str) -> Object:
    """The Status of one that could not be run."""
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
