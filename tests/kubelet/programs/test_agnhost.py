"""agnhost as Kubernetes' own tests use it, each subcommand a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fairway.kubelet.programs.agnhost import UsageError, parse_flags
from fairway.kubelet.programs.netexec import dial, reply_to, run_shell
from tests.kubelet.programs.test_launch import free_port, running

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.63.0"
NAME = socket.gethostname()


@contextmanager
def netexec(*flags: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """The process, its HTTP and its UDP port."""
    http, udp = free_port(), free_port()
    with running(AGNHOST, "netexec", f"--http-port={http}", "--udp-port", str(udp), *flags) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Started UDP"):
                break
        yield process, http, udp


def get(port: int, target: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{target}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_netexec_answers_over_http() -> None:
    with netexec() as (_, http, _):
        assert get(http, "/hostname") == get(http, "/hostName") == (200, NAME)
        assert get(http, "/echo?msg=a%20b") == (200, "a b")
        assert get(http, "/echo?msg=no&code=503") == (503, "no")
        assert get(http, "/healthz") == get(http, "/readyz") == (200, "")
        status, client = get(http, "/clientip")
        assert (status, client.rpartition(":")[0]) == (200, "127.0.0.1")
        assert get(http, "/")[1].startswith("NOW: ")
        assert get(http, "/nothing")[0] == 404
        assert json.loads(get(http, "/shell?shellCommand=echo%20hi;exit%203")[1]) == {
            "output": "hi\n",
            "error": "exit status 3",
        }


def test_netexec_calls_others() -> None:
    with netexec() as (_, http, udp):
        call = "/dial?host=127.0.0.1&request=hostName&tries=2&protocol="
        assert json.loads(get(http, f"{call}http&port={http}")[1]) == {"responses": [NAME, NAME]}
        assert json.loads(get(http, f"{call}udp&port={udp}")[1]) == {"responses": [NAME, NAME]}
        assert json.loads(get(http, f"{call}http&port={free_port()}")[1]) == {
            "errors": ["[Errno 111] Connection refused"] * 2
        }


def test_netexec_answers_over_udp() -> None:
    with netexec() as (_, _, udp), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", udp))
        client.send(b"clientip\n")
        assert client.recv(100).decode() == f"127.0.0.1:{client.getsockname()[1]}"


@pytest.mark.parametrize(
    ("datagram", "reply"),
    [
        (b"hostName\n", NAME.encode()),
        (b"echo Hello you", b"hello you"),
        (b"clientip", b"10.0.0.1:5"),
        (b"serverport", b"81"),
        (b"what", None),
        (b"\xff", None),
    ],
)
def test_datagrams_are_commands(datagram: bytes, reply: bytes | None) -> None:
    assert reply_to(datagram, "10.0.0.1:5", 81) == reply


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"protocol": "sctp"}, "unsupported protocol. sctp\n"),
        ({"protocol": "http", "host": "a", "port": "x"}, "host and/or port param are invalid. a:x\n"),
        ({"protocol": "udp", "host": "a", "port": "1", "tries": "x"}, "tries parameter is invalid."),
    ],
)
def test_a_call_that_cannot_be_is_refused(query: dict[str, str], text: str) -> None:
    said, status = dial(query)

    assert (said.startswith(text), status) == (True, 400)


def test_a_command_without_output_tells_nothing() -> None:
    assert run_shell("true") == "{}"


@pytest.mark.parametrize(
    ("flags", "code", "said"), [((), 2, ""), (("--delay-shutdown=1",), 0, "Sleeping 1 seconds before terminating...\n")]
)
def test_netexec_ends_by_sigterm(flags: tuple[str, ...], code: int, said: str) -> None:
    with netexec(*flags) as (process, http, _):
        process.send_signal(signal.SIGTERM)
        if said:
            assert process.stdout is not None
            assert process.stdout.readline() == said
            assert get(http, "/hostname") == (200, NAME)
        assert process.wait(20) == code


def test_netexec_exits_when_it_is_told() -> None:
    with netexec() as (process, http, _):
        assert get(http, "/exit?code=x")[0] == 400
        with pytest.raises(OSError):
            get(http, "/exit?code=7")
        assert process.wait(20) == 7


def test_netexec_says_that_it_has_no_sctp() -> None:
    with running(AGNHOST, "netexec", "--sctp-port=90", f"--http-port={free_port()}") as process:
        assert process.stdout is not None
        assert "no SCTP server: nothing listens on port 90" in process.stdout.readline()


def connect(*arguments: str) -> tuple[int, str]:
    with running(AGNHOST, "connect", *arguments) as process:
        _, said = process.communicate(timeout=20)
        return process.returncode, said


def test_connect_tells_whether_it_can() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert connect(f"127.0.0.1:{listener.getsockname()[1]}", "--timeout=5s") == (0, "")
    assert connect(f"127.0.0.1:{free_port()}") == (1, "REFUSED\n")


def test_porter_answers_with_its_variables() -> None:
    port = free_port()
    with running(AGNHOST, "porter", **{f"SERVE_PORT_{port}": "foo", "SERVE_TLS_PORT_444": "x"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("SERVE_TLS_PORT_444: not served")
        assert get(port, "/any") == (200, "foo")


def test_pause_is_what_it_does_by_default() -> None:
    with running(AGNHOST) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Paused\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fake-gitserver",), 'Error: unknown command "fake-gitserver"'),
        (("netexec", "--tls-cert-file=x"), "Error: unknown flag: --tls-cert-file"),
        (("netexec", "--http-port=x"), 'Error: invalid argument "x" for "--http-port" flag'),
        (("connect", "here"), "Error: accepts 1 arg(s)"),
    ],
)
def test_what_it_has_not_is_named(arguments: tuple[str, ...], said: str) -> None:
    with running(AGNHOST, *arguments) as process:
        _, error = process.communicate(timeout=20)
        assert (process.returncode, error.startswith(said)) == (1, True), error


def test_flags_are_read_in_each_of_their_forms() -> None:
    known = {"port": "1", "tcp": "false"}

    assert parse_flags(["--port", "2", "x", "--tcp"], known) == ({"port": "2", "tcp": "true"}, ["x"])
    assert parse_flags(["-port=3", "--tcp=false"], known) == ({"port": "3", "tcp": "false"}, [])
    with pytest.raises(UsageError, match="flag needs an argument: --port"):
        parse_flags(["--port"], known)


def _over_http(port: int) -> str:
    return get(port, "/any")[1]


def _over_tcp(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        return client.makefile().read()


def _over_udp(port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        client.send(b"who")
        return client.recv(100).decode()


@pytest.mark.parametrize(
    ("flags", "calls"),
    [((), (_over_http,)), (("--tcp",), (_over_tcp,)), (("--udp", "--http"), (_over_udp, _over_http))],
)
def test_serve_hostname_says_its_name(flags: tuple[str, ...], calls: tuple[Callable[[int], str], ...]) -> None:
    port = free_port()
    with running(AGNHOST, "serve-hostname", f"--port={port}", *flags) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Serving hostname on port {port}\n"
        assert [call(port) for call in calls] == [NAME] * len(calls)
