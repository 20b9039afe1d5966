"""agnhost as Kubernetes' own tests use it, each subcommand a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path

import pytest

from fairway.cluster.pki import Authority
from fairway.kubelet.programs import closewait
from fairway.kubelet.programs.closewait import execute
from fairway.kubelet.programs.flags import UsageError, parse_flags
from fairway.kubelet.programs.look import resolver
from fairway.kubelet.programs.netexec import dial, reply_to, run_shell
from fairway.kubelet.programs.raw import NoSctp, sctp_socket
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


def eventually(condition: Callable[[], bool]) -> bool:
    """Asked again until it holds, as of a server that says nothing when it is up."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        if condition():
            return True
    return False


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
        assert (get(http, "/healthz"), get(http, "/readyz")) == ((200, ""), (200, "ok"))
        assert get(http, "/echo?code=x") == (200, "argument 'code' must be an integer or empty, got \"x\"\n")
        assert get(http, "/header?key=accept-encoding") == (200, "identity")
        assert json.loads(get(http, "/header")[1])["Accept-Encoding"] == ["identity"]
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
        assert json.loads(get(http, f"{call}&port={http}")[1]) == {"responses": [NAME, NAME]}
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
        ({"protocol": "dccp", "request": "x"}, "unsupported protocol. dccp\n"),
        ({"protocol": "HTTP", "request": "x", "host": "a", "port": "x"}, "host and/or port param are invalid. a:x\n"),
        ({"request": "x", "host": "no.such.invalid", "port": "1"}, "host and/or port param are invalid. no.such.inv"),
        ({"protocol": "udp", "host": "a", "port": "1", "tries": "x"}, "tries parameter is invalid."),
        ({"protocol": "udp", "host": "a", "port": "1"}, "request parameter not specified."),
    ],
)
def test_a_call_that_cannot_be_is_refused(query: dict[str, str], text: str) -> None:
    said, status = dial(query)

    assert (said.startswith(text), status) == (True, 400)


def test_a_command_without_output_tells_nothing() -> None:
    assert run_shell("true") == "{}"


@pytest.mark.parametrize(
    ("flags", "code", "said"), [((), 0, ""), (("--delay-shutdown=1",), 0, "Sleeping 1 seconds before terminating...\n")]
)
def test_netexec_ends_by_sigterm(flags: tuple[str, ...], code: int, said: str) -> None:
    """While it waits it is healthy and serves, and is not ready: so it leaves its endpoints first."""
    with netexec(*flags) as (process, http, _):
        process.send_signal(signal.SIGTERM)
        if said:
            assert process.stdout is not None
            assert process.stdout.readline() == said
            assert get(http, "/hostname") == (200, NAME)
            assert (get(http, "/healthz"), get(http, "/readyz")) == ((200, ""), (503, "shutting down"))
        assert process.wait(20) == code


def test_it_ends_whichever_thread_gets_the_signal() -> None:
    code = """
import signal, sys, threading
from fairway.kubelet.programs.flags import catch_end, wait_for_end
ends = catch_end()
main = threading.get_ident()
def get_it():
    never, turns = threading.Event(), 0
    while turns < 20:  # each lets the main thread go on to where it waits
        never.wait(0.005)
        turns += sys._current_frames()[main].f_code.co_name in ("wait", "wait_for_end")
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    never.wait()
threading.Thread(target=get_it, daemon=True).start()
raise SystemExit(wait_for_end(ends, 0, 7) if not ends.is_set() else 8)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 7


def test_netexec_exits_when_it_is_told() -> None:
    with netexec() as (process, http, _):
        assert get(http, "/exit?code=x")[0] == 400
        with pytest.raises(OSError):
            get(http, "/exit?code=7")
        assert process.wait(20) == 7


def has_sctp() -> bool:
    try:
        sctp_socket(socket.AF_INET).close()
    except NoSctp:
        return False
    return True


NO_SCTP = "this machine's kernel has no SCTP: as root of the machine run: modprobe sctp"


def test_sctp_is_spoken_or_refused_plainly() -> None:
    port = free_port()
    with running(AGNHOST, "netexec", f"--sctp-port={port}", "--udp-port=-1", f"--http-port={free_port()}") as process:
        assert process.stdout is not None
        if has_sctp():
            assert f"Started SCTP server on port {port}\n" in (process.stdout.readline(), process.stdout.readline())
            assert connect(f"127.0.0.1:{port}", "--protocol=sctp", "--timeout=5s") == (0, "")
        else:
            _, error = process.communicate(timeout=20)
            assert (process.returncode, error) == (1, f"Error: {NO_SCTP}\n")
            assert connect("127.0.0.1:9", "--protocol=sctp") == (1, f"OTHER: {NO_SCTP}\n")


def test_netexec_is_healthy_once_it_answers_datagrams() -> None:
    """As the real one, which says so even where it was told to have no UDP server."""
    http = free_port()
    with running(AGNHOST, "netexec", f"--http-port={http}", "--udp-port=-1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Started HTTP server on port {http}\n"
        assert [get(http, path) for path in ("/healthz", "/readyz")] == [(412, ""), (412, "")]
        assert get(http, "/hostname") == (200, NAME)


def test_an_override_is_the_answer_to_all() -> None:
    with netexec("--http-override=/echo?msg=mine&code=201") as (_, http, _):
        assert get(http, "/hostname") == get(http, "/nothing") == (201, "mine")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of a certificate for 127.0.0.1, signed by nobody else, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.create("test", now=datetime.now(UTC))
    pair = authority.issue_server("localhost", hosts=["127.0.0.1"])
    (folder / "tls.crt").write_bytes(pair.certificate + authority.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    return str(folder / "tls.crt"), str(folder / "tls.key")


def get_secure(port: int, authority: str) -> str:
    context = ssl.create_default_context(cafile=authority)
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/hostname", timeout=20, context=context) as answer:
        return str(answer.read().decode())


def test_netexec_speaks_https(certificate: tuple[str, str]) -> None:
    file, key = certificate
    with netexec(f"--tls-cert-file={file}", f"--tls-private-key-file={key}") as (_, port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=20):  # one that says nothing keeps nobody waiting
            assert get_secure(port, file) == NAME
        with pytest.raises((OSError, HTTPException)):
            get(port, "/hostname")


def test_a_certificate_that_is_none_is_named(certificate: tuple[str, str]) -> None:
    for file, key in (("/no/such", ""), (certificate[0], "/no/such"), ("/etc/hosts", "")):
        flags = ("netexec", "--tls-cert-file", file, "--tls-private-key-file", key)
        with running(AGNHOST, *flags) as process:
            _, error = process.communicate(timeout=20)
            assert process.returncode == 1
            assert error.startswith(f"Error: TLS certificate {file}, key {key or file}: ")


def connect(*arguments: str) -> tuple[int, str]:
    with running(AGNHOST, "connect", *arguments) as process:
        _, said = process.communicate(timeout=20)
        return process.returncode, said


def test_connect_tells_whether_it_can() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert connect(f"127.0.0.1:{listener.getsockname()[1]}", "--timeout=5s") == (0, "")
    assert connect(f"127.0.0.1:{free_port()}") == (1, "REFUSED\n")
    assert connect("127.0.0.1") == (1, "UNKNOWN: address 127.0.0.1: missing port in address\n")
    assert connect("::1:80") == (1, "UNKNOWN: address ::1:80: too many colons in address\n")
    assert connect("127.0.0.1:x") == (1, "DNS: address 127.0.0.1:x: invalid port\n")
    assert connect("no.such.invalid:80")[1].startswith("DNS: lookup no.such.invalid: ")
    assert connect("127.0.0.1:80", "--protocol=dccp") == (1, "Unsupported protocol\ndccp\n")


def test_connect_gives_up_in_time() -> None:
    """A listener whose backlog is full answers no more."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        assert connect(f"127.0.0.1:{listener.getsockname()[1]}", "--timeout=300ms") == (1, "TIMEOUT\n")


def test_connect_wants_an_answer_over_udp() -> None:
    with netexec() as (_, _, udp):
        assert connect(f"127.0.0.1:{udp}", "--protocol=udp", "--timeout=20s") == (0, "")
        unknown = connect(f"127.0.0.1:{udp}", "--protocol=udp", "--udp-data=what", "--timeout=300ms")
        assert unknown == (1, f"TIMEOUT: read udp 127.0.0.1:{udp}: i/o timeout\n")
    closed = free_port()
    refused = (1, f"REFUSED: read udp 127.0.0.1:{closed}: connection refused\n")
    assert connect(f"127.0.0.1:{closed}", "--protocol=udp", "--timeout=20s") == refused


def test_porter_answers_with_its_variables() -> None:
    http, tcp, udp = free_port(), free_port(), free_port()
    variables = {
        f"SERVE_PORT_{http}": "foo",
        f"SERVE_TCP_PORT_{tcp}": "bar",
        f"SERVE_UDP_PORT_{udp}": "baz",
        "SERVE_TLS_PORT_444": "x",
        "SERVE_PORT_X": "y",
    }
    with running(AGNHOST, "porter", **variables) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert [line for line in lines if line.startswith("SERVE_TLS_PORT_444: not served: ")]
        assert (get(http, "/any"), get(tcp, "/"), _over_udp(udp)) == ((200, "foo"), (200, "bar"), "baz")


def test_porter_answers_over_tls_and_as_json(certificate: tuple[str, str]) -> None:
    file, key = certificate
    port = free_port()
    with running(
        AGNHOST, "porter", "--json-response", CERT_FILE=file, KEY_FILE=key, **{f"SERVE_TLS_PORT_{port}": "foo"}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Started TLS server on port {port}\n"
        assert json.loads(get_secure(port, file)) == {"Method": "GET", "Body": "foo"}


def test_the_test_webserver_serves_every_file(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>mine</p>")
    (tmp_path / "a <b>").mkdir()
    port = free_port()
    with running(AGNHOST, "test-webserver", "--port", str(port)) as process:
        assert _answers(port)
        assert get(port, f"{tmp_path}/page.html") == (200, "<p>mine</p>")
        listing = '<pre>\n<a href="a%20%3Cb%3E/">a &lt;b&gt;/</a>\n<a href="page.html">page.html</a>\n</pre>\n'
        assert get(port, str(tmp_path)) == (200, listing)
        (tmp_path / "index.html").write_text("first")
        assert get(port, str(tmp_path)) == (200, "first")
        assert get(port, f"{tmp_path}/none")[0] == get(port, f"{tmp_path}/page.html/x")[0] == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 2


def _answers(port: int) -> bool:
    """Once it listens."""
    return eventually(lambda: connect(f"127.0.0.1:{port}", "--timeout=1s") == (0, ""))


@pytest.mark.parametrize(
    ("keyword", "values"), [("search", ["b.example", "c"]), ("nameserver", ["10.0.0.1", "fd00::1"]), ("options", [])]
)
def test_a_resolver_is_told_by_its_file(keyword: str, values: list[str]) -> None:
    text = "# search no\nsearch a\nnameserver 10.0.0.1\nnameserver fd00::1\noptions\nsearch b.example c\n"
    assert resolver(text, keyword) == values


def test_a_pods_files_are_told() -> None:
    with running(AGNHOST, "etc-hosts") as process:
        assert process.communicate(timeout=20)[0] == Path("/etc/hosts").read_text() + "\n"
    for name, keyword in (("dns-suffix", "search"), ("dns-server-list", "nameserver")):
        with running(AGNHOST, name) as process:
            expected = ",".join(resolver(Path("/etc/resolv.conf").read_text(), keyword))
            assert process.communicate(timeout=20)[0] == f"{expected}\n"


def test_a_connection_is_half_closed_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    web, port = free_port(), free_port()
    server = json.dumps({"LocalAddr": f"127.0.0.1:{port}", "PostFinTimeoutSeconds": 0})
    client = json.dumps({"RemoteAddr": f"127.0.0.1:{port}", "TimeoutSeconds": 20, "LeakConnection": True})
    left_open: list[socket.socket] = []
    monkeypatch.setattr(closewait, "_leaked", left_open)
    with running(AGNHOST, "net", "--serve", f":{web}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Running server on :{web}\n"
        assert get(web, "/run/none")[1].startswith("Error from runner: Invalid runner: 'none'; there are nat-closewait")
        assert get(web, "/any")[0] == 400
        with running(AGNHOST, "net", "--runner", "nat-closewait-server", "--options", server) as other:
            assert eventually(lambda: execute("nat-closewait-client", client)[0] == "")
            assert "# Server sent FIN, waiting 0 seconds\n# Done\n" in other.communicate(timeout=20)[0]
            assert other.returncode == 0
    for end in left_open:
        end.close()


@pytest.mark.parametrize(
    ("name", "options", "failure"),
    [
        ("none", "{}", "Invalid runner: 'none'; there are nat-closewait-client, nat-closewait-server"),
        ("nat-closewait-client", "{", "Invalid options JSON: Expecting property name"),
        ("nat-closewait-client", "[]", "Invalid options JSON: want an object"),
        ("nat-closewait-client", "{}", "address '': want HOST:PORT"),
        ("nat-closewait-client", '{"RemoteAddr": "127.0.0.1:1"}', "[Errno 111] Connection refused"),
    ],
)
def test_a_runner_that_cannot_run_says_why(name: str, options: str, failure: str) -> None:
    assert execute(name, options)[0].startswith(failure)


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
        (("netexec", "--tls-cert=x"), "Error: unknown flag: --tls-cert"),
        (("netexec", "--http-port=x"), 'Error: invalid argument "x" for "--http-port" flag'),
        (("netexec", "--udp-port=-2"), 'Error: invalid argument "-2" for "--udp-port" flag'),
        (("netexec", "--udp-listen-addresses=x"), 'Error: invalid argument "x" for "--udp-listen-addresses" flag'),
        (("netexec", "--delay-shutdown=1s"), 'Error: invalid argument "1s" for "--delay-shutdown" flag'),
        (("netexec", "more"), "Error: accepts at most 0 arg(s), received 1"),
        (("connect",), "Error: accepts 1 arg(s), received 0"),
        (("connect", "a:1", "--timeout=3"), 'Error: invalid argument "3" for "--timeout" flag'),
        (("serve-hostname", "--tcp"), "Error: cannot serve TCP or UDP and HTTP at the same time: add --http=false"),
        (("net",), "Error: must set either --runner or --serve"),
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
    assert parse_flags(["--tcp=0", "--", "--port"], known) == ({"port": "1", "tcp": "false"}, ["--port"])
    with pytest.raises(UsageError, match="flag needs an argument: --port"):
        parse_flags(["--port"], known)
    with pytest.raises(UsageError, match='invalid argument "x" for "--tcp" flag'):
        parse_flags(["--tcp=x"], known)


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
    [((), (_over_http,)), (("--close",), (_over_http,)), (("--tcp", "--udp", "--http=false"), (_over_udp, _over_tcp))],
)
def test_serve_hostname_says_its_name(flags: tuple[str, ...], calls: tuple[Callable[[int], str], ...]) -> None:
    port = free_port()
    with running(AGNHOST, "serve-hostname", f"--port={port}", *flags) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Serving on port {port}.\n"
        assert [call(port) for call in calls] == [NAME] * len(calls)
