"""What a fault is made of, in a lab as it is; names that are none; faults that contradict."""

from __future__ import annotations

import pytest

from fairway.base.errors import Refused
from fairway.cluster.fault.model import (
    Delay,
    End,
    Fault,
    Fill,
    Hold,
    Kind,
    LoseAtPort,
    LoseInHost,
    SkewProbe,
    Step,
    Stop,
    StopProgram,
    Unplug,
    Wanted,
    What,
)
from fairway.cluster.fault.plan import Pod, World, check_contradictions, plan
from fairway.kubelet.skew import Skew

WORLD = World(
    nodes=("cp", "w1", "w2"),
    clients=("mypc",),
    ports={"cp": "veth0", "w1": "veth1", "w2": "veth2", "mypc": "veth3"},
    programs={
        "control-plane": "cp",
        "kubelet-cp": "cp",
        "kube-proxy-cp": "cp",
        "kubelet-w1": "w1",
        "kube-proxy-w1": "w1",
        "kubelet-w2": "w2",
        "kube-proxy-w2": "w2",
        "faults": "",
    },
    pods={
        "default/web": Pod(host="default/web", node="w1"),
        "other/web": Pod(host="other/web", node="w2"),
        "default/echo": Pod(host="default/echo", node="w1"),
        "default/proxy": Pod(host="default/proxy", node="", shares="w2"),
    },
)


def wanted(line: str) -> Wanted:
    """As it is typed."""
    kind, *words = line.split()
    match Kind(kind):
        case Kind.KILL | Kind.PAUSE:
            return Wanted(kind=Kind(kind), what=What(words[0]), name="".join(words[1:]))
        case Kind.LOSS:
            return Wanted(kind=Kind.LOSS, what=What.HOST, name=words[0], percent=int(words[1].rstrip("%")))
        case Kind.DELAY:
            return Wanted(kind=Kind.DELAY, what=What.HOST, name=words[0], milliseconds=int(words[1].removesuffix("ms")))
        case Kind.CONNTRACK:
            return Wanted(kind=Kind.CONNTRACK, what=What.NODE, name=words[0], percent=int(words[1].rstrip("%")))
        case Kind.PROBE:
            probe, skew = words[1].removeprefix("--"), Skew(words[2])
            return Wanted(kind=Kind.PROBE, what=What.POD, name=words[0], probe=probe, skew=skew)
        case Kind.MUTE:
            return Wanted(kind=Kind.MUTE, what=What.POD, name=words[0])
        case Kind.CUT:
            return Wanted(kind=Kind.CUT, what=What.HOST, name=words[0])


@pytest.mark.parametrize(
    ("line", "steps"),
    [
        ("kill agent w1", [Hold("kube-proxy-w1")]),
        ("pause agent w1", [StopProgram("kube-proxy-w1")]),
        ("kill apiserver", [Hold("control-plane")]),
        ("pause apiserver", [StopProgram("control-plane")]),
        ("kill node w1", [Unplug("veth1"), Hold("kubelet-w1"), Hold("kube-proxy-w1"), End("w1")]),
        (
            "kill node cp",
            [Unplug("veth0"), Hold("control-plane"), Hold("kubelet-cp"), Hold("kube-proxy-cp"), End("cp")],
        ),
        ("pause node w1", [Unplug("veth1"), Stop("w1"), Stop("default/web"), Stop("default/echo")]),
        ("cut w2", [Unplug("veth2")]),
        ("cut mypc", [Unplug("veth3")]),
        ("cut echo", [LoseInHost("default/echo", 100)]),
        ("loss w2 5%", [LoseAtPort("veth2", 5)]),
        ("loss other/web 5%", [LoseInHost("other/web", 5)]),
        ("delay w2 50ms", [Delay("veth2", 50)]),
        ("delay mypc 50ms", [Delay("veth3", 50)]),
        ("mute default/web", [Stop("default/web")]),
        ("conntrack w1 90%", [Fill("w1", 90)]),
        ("probe echo --readiness fail", [SkewProbe("default/echo", "readiness", Skew.FAIL)]),
        ("probe proxy --liveness slow", [SkewProbe("default/proxy", "liveness", Skew.SLOW)]),
    ],
)
def test_a_fault_is_made_of_steps(line: str, steps: list[Step]) -> None:
    planned = plan(wanted(line), WORLD)
    assert list(planned.steps) == steps


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("kill node mypc", "'mypc' is no node of this lab; there are: cp, w1, w2"),
        ("kill agent w11", "'w11' is no node of this lab; did you mean 'w1'?"),
        ("cut mypx", "'mypx' is no node, client or pod of this lab; did you mean 'mypc'?"),
        ("mute w1", "'w1' is no pod of this lab"),
        ("mute web", "'web' is the name of several pods (default/web, other/web): say NAMESPACE/NAME"),
        ("mute x/echo", "'x/echo' is no pod of this lab"),
        ("mute proxy", "pod default/proxy is on the network of its node, as all there: plant the fault on w2"),
        ("cut proxy", "pod default/proxy is on the network of its node, as all there: plant the fault on w2"),
        ("loss w1 0%", "a share of packets is 1 to 100 per cent"),
        ("loss w1 101%", "a share of packets is 1 to 100 per cent"),
        ("delay echo 50ms", "'echo' is no node or client of this lab; there are: cp, w1, w2, mypc"),
        ("delay w1 0ms", "a delay is 1 to 10000 ms"),
        ("delay w1 10001ms", "a delay is 1 to 10000 ms"),
        ("conntrack mypc 90%", "'mypc' is no node of this lab; there are: cp, w1, w2"),
        ("conntrack w1 0%", "conntrack w1: a share of the table is 1 to 100 per cent"),
        ("conntrack w1 101%", "conntrack w1 101%: a share of the table is 1 to 100 per cent"),
        ("probe w1 --readiness fail", "'w1' is no pod of this lab"),
        ("probe echo --startup fail", "probe echo --startup fail: of which probe (readiness or liveness), and how?"),
        ("kill pod web", "a fault of kind kill is not for a target of kind pod"),
    ],
)
def test_a_name_that_is_none_is_refused(line: str, why: str) -> None:
    with pytest.raises(Refused) as refusal:
        plan(wanted(line), WORLD)
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        ("kill agent w1", "pause agent w1", "program kube-proxy-w1"),
        ("kill agent w1", "kill agent w1", "program kube-proxy-w1"),
        ("kill node w1", "pause agent w1", "program kube-proxy-w1"),
        ("pause agent w1", "kill node w1", "program kube-proxy-w1"),
        ("kill node cp", "pause apiserver", "program control-plane"),
        ("cut w1", "loss w1 5%", "the link of w1"),
        ("cut w1", "pause node w1", "the link of w1"),
        ("delay w1 50ms", "loss w1 5%", "the link of w1"),
        ("pause node w1", "mute echo", "the processes of pod default/echo"),
        ("cut echo", "kill node w1", "the link of default/echo"),
        ("mute echo", "mute default/echo", "the processes of pod default/echo"),
        ("kill node w1", "pause node w1", "node w1"),
        ("conntrack w1 90%", "conntrack w1 100%", "the table of connections of w1"),
        (
            "probe echo --readiness fail",
            "probe default/echo --readiness slow",
            "the readiness probe of pod default/echo",
        ),
    ],
)
def test_two_faults_that_contradict_are_refused(first: str, second: str, held: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_contradictions(plan(wanted(second), WORLD), [planted(first)])
    text = str(refusal.value)
    assert held in text
    assert text.endswith("undo it first: fairway fault undo 7")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("kill agent w1", "kill agent w2"),
        ("kill agent w1", "cut w1"),
        ("kill apiserver", "kill node w1"),
        ("cut mypc", "loss w1 5%"),
        ("mute echo", "cut echo"),
        ("probe echo --readiness fail", "probe echo --liveness fail"),
        ("probe echo --readiness fail", "mute echo"),
        ("conntrack w1 90%", "conntrack w2 90%"),
        ("conntrack w1 90%", "loss w1 5%"),
        ("mute default/web", "mute other/web"),
        ("pause node w1", "pause node w2"),
    ],
)
def test_others_go_together(first: str, second: str) -> None:
    check_contradictions(plan(wanted(second), WORLD), [planted(first)])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("cut echo", "cut default/echo"),
        ("loss w1 5%", "loss w1 5%"),
        ("delay w1 5ms", "delay w1 5ms"),
        ("kill apiserver", "kill apiserver"),
    ],
)
def test_a_fault_is_told_by_the_full_name(line: str, told: str) -> None:
    assert str(plan(wanted(line), WORLD).wanted) == told


def planted(line: str) -> Fault:
    return Fault(number=7, planned=plan(wanted(line), WORLD), since="", until=None)
