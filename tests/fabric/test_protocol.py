from __future__ import annotations

import pytest

from fairway.base.errors import FairwayError, Refused, Retry, Unsupported
from fairway.fabric import protocol
from fairway.fabric.protocol import CannotExecute, HostKind, HostSpec


def spec(**changes: object) -> HostSpec:
    fields: dict[str, object] = {"name": "default/web", "kind": HostKind.POD, "hostname": "web"}
    return HostSpec(**(fields | changes))


REQUESTS: list[protocol.AnyRequest] = [
    protocol.CreateHost(id=1, spec=spec(files={"/etc/hosts": "ü\n"}, hidden=("/srv",), visible=("/run/x",), tied=True)),
    protocol.RemoveHost(id=2, name="default/web"),
    protocol.ListHosts(id=3),
    protocol.ListServices(id=4),
    protocol.Spawn(id=5, host="alpha", argv=("ls", "-l", "a\nb"), env={"PATH": "/bin"}, controlling_tty=True, join=7),
    protocol.Kill(id=6, pid=12, signal=15, group=True),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_survives_the_wire_as_one_line(request_: protocol.AnyRequest) -> None:
    line = protocol.encode(request_)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert protocol.decode_request(line[:-1]) == request_


REPLIES: list[protocol.Reply] = [
    protocol.Answer(id=1),
    protocol.Answer(
        id=2,
        pid=9,
        hosts=(protocol.HostRecord(name="a", kind=HostKind.NODE, pid=3, hostname="a", containers=(4, 5)),),
        services=(protocol.ServiceRecord(name="s", host="a", pid=0, starts=2, last_exit=-9),),
    ),
    protocol.Failure(id=3, reason=protocol.Reason.RETRY, message="later"),
    protocol.Exited(pid=9, status=-15),
]


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_survives_the_wire(reply: protocol.Reply) -> None:
    assert protocol.decode_reply(protocol.encode(reply)) == reply


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"ls -l", "not a request of this lab: JSON is malformed: invalid character (byte 0)"),
        (b'{"method":"reboot","id":1}', "not a request of this lab: Invalid value 'reboot' - at `$.method`"),
        (b'{"method":"hosts"}', "not a request of this lab: Object missing required field `id`"),
        (
            b'{"method":"kill","id":1,"pid":"x","signal":9}',
            "not a request of this lab: Expected `int`, got `str` - at `$.pid`",
        ),
    ],
)
def test_a_line_that_is_no_request_is_refused_with_the_field(line: bytes, message: str) -> None:
    with pytest.raises(Refused) as refused:
        protocol.decode_request(line)
    assert str(refused.value) == message


def test_text_that_is_not_unicode_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Refused, match="not valid UTF-8"):
        protocol.encode(protocol.Spawn(id=1, host="a", argv=("\udcff",), env={}))


@pytest.mark.parametrize(
    "error",
    [
        Refused("no"),
        Unsupported("not here"),
        Retry("later", after_s=1.0),
        CannotExecute("x: not found", exit_code=127),
        CannotExecute("x: Permission denied", exit_code=126),
    ],
    ids=repr,
)
def test_an_error_arrives_as_what_it_was(error: FairwayError) -> None:
    arrived = protocol.error_of(protocol.failure_of(5, error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert getattr(arrived, "exit_code", None) == getattr(error, "exit_code", None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Web"}, "name must be lower case letters, digits, '-', '.', '/' and '_', at most 317 characters"),
        ({"name": ""}, "name must be lower case letters, digits, '-', '.', '/' and '_', at most 317 characters"),
        ({"hostname": ""}, "hostname '' must be 1 to 64 bytes"),
        ({"hostname": "ü" * 33}, f"hostname {'ü' * 33!r} must be 1 to 64 bytes"),
        ({"files": {"etc/hosts": ""}}, "files: 'etc/hosts' is no absolute path of something in the file system"),
        ({"hidden": ("/",)}, "hidden: '/' is no absolute path of something in the file system"),
        ({"visible": ("/a\0b",)}, "visible: '/a\\x00b' is no absolute path of something in the file system"),
    ],
)
def test_a_host_that_no_kernel_could_make_is_refused_with_its_field(changes: dict[str, object], problem: str) -> None:
    bad = spec(**changes)
    with pytest.raises(Refused) as refused:
        protocol.check_host(bad)
    assert str(refused.value) == f"host {bad.name!r}: {problem}"


def test_lines_come_out_whole_however_the_stream_is_cut() -> None:
    stream = b'{"a":1}\n{"b":2}\n\n{"c":3}\n'
    for size in range(1, len(stream) + 1):
        lines = protocol.Lines()
        found = [line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])]
        assert found == [b'{"a":1}', b'{"b":2}', b"", b'{"c":3}']


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    lines = protocol.Lines()
    assert lines.feed(bytes(protocol.MAX_LINE)) == []
    with pytest.raises(Refused, match="a message of more than 8388608 bytes"):
        lines.feed(b"x")
