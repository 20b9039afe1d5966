"""`fairway fault`: faults planted in a lab on purpose, each undone by itself where `--for` says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console

from fairway.cli.options import lab_name, output, own_command, print_json
from fairway.cli.status import print_faults
from fairway.cluster.fault import ask
from fairway.cluster.fault.model import Kind, Told, Wanted, What
from fairway.cluster.fault.plan import LONGEST_DELAY_MS
from fairway.cluster.fault.probed import check_probed
from fairway.cluster.report import fault_json
from fairway.cluster.scenario import DEFAULT_LAB
from fairway.cluster.state import LabState
from fairway.kubelet.skew import Skew

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST_S = 86400.0
_TARGETS = [What.NODE, What.AGENT, What.APISERVER]


@click.group()
def fault() -> None:
    """Plant a fault in a lab, and have it undone.

    With --for it is undone by itself after that time, whoever is gone by then; without, by `fairway fault undo`.
    `fairway status` lists what is planted.
    """


def _planting(function: F) -> F:
    """The options of what plants a fault."""
    seconds = click.option(
        "--for",
        "for_s",
        type=click.FloatRange(0, _LONGEST_S, min_open=True),
        metavar="SECONDS",
        help="Undo it after this time. [default: it stays until it is undone]",
    )
    return lab_name(seconds(output(function)))


def _targets(function: F) -> F:
    """What to kill, pause or restart."""
    what = click.argument("what", type=click.Choice([target.value for target in _TARGETS]))
    return what(click.argument("node", default="")(function))


@fault.command()
@_targets
@_planting
def kill(name: str, what: str, node: str, for_s: float | None, output: str) -> None:
    """Kill a NODE with all that runs on it, the agent of a NODE, or the API server (with the controllers).

    It is not started again until the fault is undone. A killed node's link is down.
    """
    _plant(name, _program(Kind.KILL, what, node), for_s, output)


@fault.command()
@_targets
@_planting
def pause(name: str, what: str, node: str, for_s: float | None, output: str) -> None:
    """Stop a NODE with all that runs on it, the agent of a NODE, or the API server, as it is; undone, it goes on."""
    _plant(name, _program(Kind.PAUSE, what, node), for_s, output)


@fault.command()
@_targets
@lab_name
@output
def restart(name: str, what: str, node: str, output: str) -> None:
    """Kill a NODE, the agent of a NODE or the API server, and start it again at once."""
    wanted = _program(Kind.KILL, what, node)
    ask.restart(LabState.of(name), wanted)
    if output == "json":
        print_json({"restarted": what, "target": node})
    else:
        click.echo(f"{' '.join(filter(None, (what, node)))}: killed, and started again")


@fault.command()
@click.argument("host")
@_planting
def cut(name: str, host: str, for_s: float | None, output: str) -> None:
    """Cut the link of HOST, a node, client or pod: nothing comes and nothing goes."""
    _plant(name, Wanted(kind=Kind.CUT, what=What.HOST, name=host), for_s, output)


@fault.command()
@click.argument("host")
@click.argument("share")
@_planting
def loss(name: str, host: str, share: str, for_s: float | None, output: str) -> None:
    """Drop SHARE per cent (1 to 100) of the packets on the link of HOST, a node, client or pod, each way."""
    _plant(name, Wanted(kind=Kind.LOSS, what=What.HOST, name=host, percent=_percent(share)), for_s, output)


@fault.command()
@click.argument("host")
@click.argument("time")
@_planting
def delay(name: str, host: str, time: str, for_s: float | None, output: str) -> None:
    """Hold every frame on the link of HOST, a node or client, for TIME (1 to 10000 ms), each way."""
    _plant(name, Wanted(kind=Kind.DELAY, what=What.HOST, name=host, milliseconds=_milliseconds(time)), for_s, output)


@fault.command()
@click.argument("node")
@click.argument("share", default="100")
@_planting
def conntrack(name: str, node: str, share: str, for_s: float | None, output: str) -> None:
    """Fill NODE's table of tracked connections to SHARE per cent (1 to 100) of the kernel's limit. [default: 100]

    When it is full, connections that stand go on, and the first packet of every other is dropped.
    """
    wanted = Wanted(kind=Kind.CONNTRACK, what=What.NODE, name=node, percent=_percent(share, "the table"))
    _plant(name, wanted, for_s, output)


@fault.command()
@click.argument("pod")
@_planting
def mute(name: str, pod: str, for_s: float | None, output: str) -> None:
    """Stop all processes of POD: connections are made by its kernel, and nobody answers on them."""
    _plant(name, Wanted(kind=Kind.MUTE, what=What.POD, name=pod), for_s, output)


@fault.command()
@click.argument("pod")
@click.option("--readiness", type=click.Choice([skew.value for skew in Skew]), help="What becomes of this probe.")
@click.option("--liveness", type=click.Choice([skew.value for skew in Skew]), help="What becomes of this probe.")
@_planting
def probe(name: str, pod: str, readiness: str | None, liveness: str | None, for_s: float | None, output: str) -> None:
    """Have the kubelet see a probe of POD fail, or its answer come too slowly, while the pod itself answers as ever."""
    given = [(which, how) for which, how in (("readiness", readiness), ("liveness", liveness)) if how]
    if len(given) != 1:
        raise click.UsageError("say either --readiness fail|slow or --liveness fail|slow")
    which, how = given[0]
    check_probed(LabState.of(name), pod, which)
    _plant(name, Wanted(kind=Kind.PROBE, what=What.POD, name=pod, probe=which, skew=Skew(how)), for_s, output)


@fault.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@click.option("--all", "every", is_flag=True, help="Undo all that are planted.")
@lab_name
@output
def undo(name: str, number: int | None, every: bool, output: str) -> None:
    """Undo a fault now, or all of them."""
    if (number is None) is not every:
        raise click.UsageError("say either the ID of a fault or --all")
    _print(ask.undo(LabState.of(name), number or 0), output, "undone")


@fault.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@lab_name
def wait(name: str, number: int | None) -> None:
    """Wait until a fault is over, or without an ID until none is planted."""
    ask.wait(LabState.of(name), number or 0)


@fault.command("list")
@lab_name
@output
def list_(name: str, output: str) -> None:
    """List the faults that are planted, with what is left of their time."""
    faults = ask.planted(LabState.of(name))
    if output == "json":
        print_json({"faults": [fault_json(each) for each in faults]})
    elif faults:
        print_faults(Console(highlight=False), faults)
    else:
        click.echo("no fault is planted")


def _program(kind: Kind, what: str, node: str) -> Wanted:
    target = What(what)
    if bool(node) is (target is What.APISERVER):
        raise click.UsageError("apiserver takes no name" if node else f"{what}: of which node?")
    return Wanted(kind=kind, what=target, name=node)


def _percent(share: str, whole: str = "packets") -> int:
    text = share.removesuffix("%")
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 100):
        raise click.UsageError(f"{share!r} is no share of {whole}: a whole number of per cent, 1 to 100")
    return int(text)


def _milliseconds(time: str) -> int:
    text = time.removesuffix("ms")
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= LONGEST_DELAY_MS):
        raise click.UsageError(f"{time!r} is no delay: a whole number of milliseconds, 1 to {LONGEST_DELAY_MS}")
    return int(text)


def _plant(name: str, wanted: Wanted, for_s: float | None, output: str) -> None:
    told = ask.plant(LabState.of(name), wanted, for_s)
    if output == "json":
        print_json(fault_json(told))
        return
    lab = f" --name {name}" if name != DEFAULT_LAB else ""
    how = f"undone in {for_s:g} s, or by" if for_s is not None else "undone by"
    click.echo(f"fault {told.number}: {told.wanted}; {how}: {own_command()} fault undo{lab} {told.number}")


def _print(faults: Sequence[Told], output: str, done: str) -> None:
    if output == "json":
        print_json({"faults": [fault_json(each) for each in faults]})
        return
    for each in faults:
        click.echo(f"fault {each.number}: {each.wanted}; {done}")
    if not faults:
        click.echo("no fault is planted")
