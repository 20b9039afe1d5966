"""exec with every kubectl there is: before 1.31 they speak SPDY, from then on WebSocket."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import random
import select
import shutil
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.lab.command import LIMIT_S, Answer, User
from tests.lab.conftest import kubectl

pytestmark = pytest.mark.lab

NAMESPACE = "versions-test"
SLEEP = "trap 'exit 0' TERM; while :; do sleep 60 & wait; done"
WAIT_FOR_SIZE = """until [ "$(stty size)" = "$1" ]; do sleep 0.05; done; echo "has $1" """
TYPED = f"set -- '31 97'; {WAIT_FOR_SIZE}; set -- '40 120'; {WAIT_FOR_SIZE}; read line; echo \"got $line\"; exit 5"


def kubectls() -> list[str]:
    """The one on PATH, Debian's, and those of the Google Cloud SDK, which brings every supported version."""
    candidates = [Path(shutil.which("kubectl") or "kubectl"), Path("/usr/bin/kubectl")]
    candidates += sorted(Path("/usr/lib/google-cloud-sdk/bin").glob("kubectl.1.*"))
    found = {one.resolve(): one for one in reversed(candidates) if one.exists()}
    return sorted(map(str, found.values())) or ["kubectl"]


@pytest.fixture(scope="module", autouse=True)
def pod(lab: User) -> Iterator[None]:
    """A pod `idle` in a namespace of its own."""
    kubectl(lab, "create", "namespace", NAMESPACE)
    container = {"name": "main", "image": "busybox", "command": ["sh", "-c", SLEEP]}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "idle", "namespace": NAMESPACE},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    kubectl(lab, "apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    said = kubectl(lab, "-n", NAMESPACE, "wait", "pod/idle", "--for=condition=Ready", "--timeout=30s")
    assert said == "pod/idle condition met\n", said
    yield
    assert "deleted" in kubectl(lab, "delete", "namespace", NAMESPACE)


@pytest.fixture(params=kubectls())
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def config(lab: User) -> str:
    return str(lab.state / "myk8s" / "kubeconfig")


def execute(lab: User, program: str, *args: str, stdin: str = "") -> Answer:
    argv = [program, "-n", NAMESPACE, "exec", *args]
    return lab.run(argv, stdin=stdin, KUBECONFIG=config(lab))


class Terminal:
    """The other side of a program's terminal, as somebody sits at it."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.seen = b""
        self._descriptor = descriptor

    def read_until(self, text: bytes) -> None:
        """Read until a text was shown, or for b"" until the end."""
        while not text or text not in self.seen:
            ready, _, _ = select.select([self._descriptor], [], [], LIMIT_S)
            assert ready, self.seen
            try:
                self.seen += os.read(self._descriptor, 65536)
            except OSError:  # EIO: nobody has it open any more
                assert not text, self.seen
                return

    def write(self, data: bytes) -> None:
        os.write(self._descriptor, data)

    def resize(self, rows: int, columns: int) -> None:
        resize(self._descriptor, rows, columns)


def resize(descriptor: int, rows: int, columns: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def at_terminal(lab: User, argv: list[str], rows: int, columns: int) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    try:
        resize(ours, rows, columns)
        process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=lab.environment(KUBECONFIG=config(lab)),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        with process:
            try:
                yield Terminal(process, ours)
            finally:
                process.kill()
    finally:
        os.close(ours)


def test_outputs_and_the_exit_code_come_back(lab: User, program: str) -> None:
    answer = execute(lab, program, "idle", "--", "sh", "-c", "echo good; echo bad >&2; exit 7")

    assert (answer.code, answer.out) == (7, "good\n")
    assert answer.err == "bad\ncommand terminated with exit code 7\n"


def test_megabytes_go_in_and_come_out_unchanged(lab: User, program: str) -> None:
    text = random.Random(7).randbytes(1_500_000).hex()

    answer = execute(lab, program, "-i", "idle", "--", "sh", "-c", "tee /dev/stderr | cat", stdin=text)

    digests = [hashlib.sha256(one.encode()).hexdigest() for one in (text, answer.out, answer.err)]
    assert (answer.code, digests) == (0, [digests[0]] * 3)


def test_input_that_nobody_reads_does_not_keep_the_end_back(lab: User, program: str) -> None:
    answer = execute(lab, program, "-i", "idle", "--", "sh", "-c", "echo enough; exit 3", stdin="x" * 20_000_000)

    assert (answer.code, answer.out) == (3, "enough\n")


def test_a_terminal_has_its_size_its_input_and_its_exit_code(lab: User, program: str) -> None:
    argv = [program, "-n", NAMESPACE, "exec", "-it", "idle", "--", "sh", "-c", TYPED]

    with at_terminal(lab, argv, 31, 97) as terminal:
        terminal.read_until(b"has 31 97")
        terminal.resize(40, 120)
        terminal.read_until(b"has 40 120")
        terminal.write(b"hello\r")
        terminal.read_until(b"got hello")
        terminal.read_until(b"")
        assert terminal.process.wait(LIMIT_S) == 5


def test_a_command_that_is_not_there_is_told(lab: User, program: str) -> None:
    answer = execute(lab, program, "idle", "--", "no-such-command")

    assert (answer.code, answer.out) == (1, "")
    words = 'error executing command in container: exec: "no-such-command": executable file not found in $PATH\n'
    assert answer.err.endswith(words), answer.err


def test_a_container_that_is_not_there_is_told(lab: User, program: str) -> None:
    answer = execute(lab, program, "idle", "-c", "other", "--", "true")

    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "Error from server (BadRequest): container other is not valid for pod idle\n"
