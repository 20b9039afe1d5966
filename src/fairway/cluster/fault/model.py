"""What a fault is: its kind, whom it meets, and the steps it is made of. Pure values, as they travel and are kept."""

from __future__ import annotations

from enum import Enum

import msgspec

from fairway.kubelet.skew import Skew


class Kind(Enum):
    """What is done to the target."""

    KILL = "kill"
    PAUSE = "pause"
    CUT = "cut"
    LOSS = "loss"
    DELAY = "delay"
    MUTE = "mute"
    CONNTRACK = "conntrack"
    PROBE = "probe"


class What(Enum):
    """What a target is, as it is called on the command line."""

    NODE = "node"
    AGENT = "agent"
    APISERVER = "apiserver"
    HOST = "host"
    POD = "pod"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A fault to be.

    name: of a node, client or pod; "" for the API server. percent: of packets, for LOSS, or of
    the table of connections, for CONNTRACK. milliseconds: for DELAY.
    probe, skew: "readiness" or "liveness" and what becomes of it, for PROBE.
    """

    kind: Kind
    what: What
    name: str = ""
    percent: int = 0
    milliseconds: int = 0
    probe: str = ""
    skew: Skew | None = None

    def __str__(self) -> str:
        words = [self.kind.value]
        if self.kind in (Kind.KILL, Kind.PAUSE):
            words.append(self.what.value)
        words += [self.name] if self.name else []
        words += [f"{self.percent}%"] if self.percent else []
        words += [f"{self.milliseconds}ms"] if self.milliseconds else []
        words += [f"--{self.probe}", self.skew.value] if self.skew else []
        return " ".join(words)


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """Kill a program of the lab and keep it from starting; undone, it starts."""

    program: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Stop every process of a host (SIGSTOP); undone, those that are still there go on (SIGCONT)."""

    host: str


class StopProgram(msgspec.Struct, frozen=True, tag="stop-program"):
    """Stop one program of the lab (SIGSTOP); undone, it goes on."""

    program: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """Kill every process of a host. There is nothing to undo."""

    host: str


class Unplug(msgspec.Struct, frozen=True, tag="unplug"):
    """Take a port of the lab's bridge down: the machine behind it loses its carrier, as with a cable pulled."""

    port: str


class LoseAtPort(msgspec.Struct, frozen=True, tag="lose-at-port"):
    """Drop a share of the packets that go through a port of the lab's bridge, either way, of every protocol."""

    port: str
    percent: int


class LoseInHost(msgspec.Struct, frozen=True, tag="lose-in-host"):
    """Drop a share of the IP packets that a host's own link brings or takes."""

    host: str
    percent: int


class Delay(msgspec.Struct, frozen=True, tag="delay"):
    """Hold every frame of a port of the lab's bridge for a time, either way."""

    port: str
    milliseconds: int


class SkewProbe(msgspec.Struct, frozen=True, tag="skew-probe"):
    """Have the kubelet see failures of a pod's probe. pod: NAMESPACE/NAME."""

    pod: str
    probe: str
    skew: Skew


class Fill(msgspec.Struct, frozen=True, tag="fill"):
    """Hold a host's table of tracked connections full, to a share of the kernel's limit."""

    host: str
    percent: int


Step = Fill | SkewProbe | Hold | Stop | StopProgram | End | Unplug | LoseAtPort | LoseInHost | Delay


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it is carried out. claims: what it alone may hold; two faults with a claim in common contradict."""

    wanted: Wanted
    steps: tuple[Step, ...]
    claims: frozenset[str]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that is planted.

    number: in its lab, from 1. since: UTC, ISO 8601. until: seconds of CLOCK_BOOTTIME at which it is undone, None for
    one that stays until it is undone.
    """

    number: int
    planned: Planned
    since: str
    until: float | None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as a client hears of it. left: seconds until it is undone by itself, None for never."""

    number: int
    wanted: Wanted
    since: str
    left: float | None
