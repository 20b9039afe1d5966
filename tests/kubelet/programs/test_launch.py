"""The programs as a pod runs them: their own process, without site packages."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fairway.kubelet.images import lab_catalogue, parse_reference
from fairway.kubelet.programs import httpd


@contextmanager
def running(image: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    reference = parse_reference(image)
    assert reference is not None
    program = lab_catalogue().find(reference)
    assert program is not None
    process = subprocess.Popen(
        program.argv((), arguments),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, target: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := client.recv(65536):
            data += piece
        return data


def test_the_echo_server_runs_and_logs_and_ends_in_order() -> None:
    port = free_port()
    with running("mendhak/http-https-echo", HTTP_PORT=str(port), LOG_WITHOUT_NEWLINE="1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Listening on port {port} for http.\n"
        answer = ask(port, "/hello")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f'"hostname": "{socket.gethostname()}"'.encode() in answer
    assert '"path": "/hello"' in output
    assert '"GET /hello HTTP/1.1" 200' in output
    assert process.returncode == 0


def test_whoami_listens_where_it_is_told() -> None:
    port = free_port()
    with running("traefik/whoami", "--port", str(port), "--name=blue") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"Starting up on port {port}\n"
        assert b"Name: blue\nHostname: " in ask(port, "/")


@pytest.mark.parametrize("given", ["x", "-1", "70000"])
def test_a_port_that_is_none_is_one_clear_line(given: str) -> None:
    with running("mendhak/http-https-echo", PORT=given) as process:
        _, error = process.communicate(timeout=20)

    assert process.returncode == 1
    assert error.startswith(f"cannot listen on port {given}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("image", ["mendhak/http-https-echo", "traefik/whoami"])
def test_a_server_told_to_end_while_it_starts_ends_once_it_can(image: str) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        arguments = ("--port", str(free_port())) if image == "traefik/whoami" else ()
        with running(image, *arguments, HTTP_PORT=str(free_port())) as process:
            process.send_signal(signal.SIGTERM)
            _, error = process.communicate(timeout=20)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    assert (process.returncode, error) == (0, "")


def test_an_idle_image_ends_when_it_is_told() -> None:
    with running("busybox") as process:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)

    assert process.returncode in (0, -signal.SIGTERM), "the shell may not have got to its trap yet"


def test_few_modules_are_needed() -> None:
    """Start-up time and memory of hundreds of pods are made of these."""
    source = "import sys, fairway.kubelet.programs.echo as e; print(len(sys.modules))"
    root = httpd.__file__.rsplit("/", 4)[0]
    code = f"import sys; sys.path.insert(0, {root!r}); {source}"
    modules = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert int(modules.stdout) < 80
