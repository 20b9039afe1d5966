from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.fabric.execute import exec_in_host
from fairway.fabric.spawner import list_hosts, list_services
from tests.fabric.labs import ENVIRONMENT, Lab

pytestmark = pytest.mark.kernel


class Session:
    """A child that calls exec_in_host, as a login does: on a pty of its own, or with pipes for its standard streams."""

    def __init__(self, function: Callable[[], int], *, terminal: bool) -> None:
        if terminal:
            self.near, far = os.openpty()
            termios.tcsetwinsize(self.near, (33, 101))
            self.modes = termios.tcgetattr(self.near)
            streams = (far, far, far)
            self.input = self.near
        else:
            stdin, self.input = os.pipe()
            self.near, far = os.pipe()
            streams = (stdin, far, far)
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                os.setsid()
                # As a shell starts it in the foreground: what nohup or a background job ignores would stay ignored.
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                for target, source in enumerate(streams):
                    os.dup2(source, target)
                if terminal:
                    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
                # The test's own end would keep the pipe open for ever.
                os.closerange(3, 4096)
                sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - open to the end
                code = function()
            finally:
                os._exit(code)
        for descriptor in {*streams}:
            os.close(descriptor)

    def read_until(self, end: bytes) -> bytes:
        """Read until the output ends so."""
        data = b""
        while not data.endswith(end):
            more = os.read(self.near, 1024)
            assert more, data
            data += more
        return data

    def finish(self) -> tuple[int, bytes]:
        """The exit code, and the rest of the output."""
        data = b""
        try:
            while more := os.read(self.near, 1024):
                data += more
        except OSError:
            # EIO: nobody has the other end of the pty any more.
            pass
        _, status = os.waitpid(self.pid, 0)
        for descriptor in {self.near, self.input}:
            os.close(descriptor)
        return os.waitstatus_to_exitcode(status), data


def begin(lab: Lab, *argv: str, terminal: bool = False, host: str = "alpha", tty: bool | None = None) -> Session:
    return Session(lambda: exec_in_host(lab.socket, host, argv, env=ENVIRONMENT, tty=tty), terminal=terminal)


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
@pytest.mark.parametrize(
    ("argv", "code", "output"),
    [
        (["true"], 0, b""),
        (["sh", "-c", "exit 7"], 7, b""),
        (["sh", "-c", "kill -9 $$"], 137, b""),
        (["sh", "-c", "kill -TERM $$"], 143, b""),
        (["uname", "-n"], 0, b"alpha\n"),
        (["no-such-program"], 127, b"fairway: no-such-program: not found\n"),
        (["/etc/hosts"], 126, b"fairway: /etc/hosts: Permission denied\n"),
    ],
)
def test_the_exit_code_is_a_shells(shared_lab: Lab, argv: list[str], code: int, output: bytes, terminal: bool) -> None:
    seen, text = begin(shared_lab, *argv, terminal=terminal).finish()
    assert (seen, text.replace(b"\r\n", b"\n")) == (code, output)


def test_standard_input_goes_through_and_its_end_is_the_programs(shared_lab: Lab) -> None:
    session = begin(shared_lab, "sort")
    os.write(session.input, b"b\na\n")
    os.close(session.input)
    session.input = session.near
    assert session.finish() == (0, b"a\nb\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_forwarded_to_the_programs_group(shared_lab: Lab, number: signal.Signals) -> None:
    program = f"""if True:
        import os, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {{{number.value}}})
        child = os.fork()
        if child:
            print("ready", flush=True)
        signal.sigwait({{{number.value}}})
        if child:
            os.waitpid(child, 0)
        print("caught", flush=True)
        os._exit(5)
    """
    session = begin(shared_lab, sys.executable, "-I", "-S", "-c", program)
    assert session.read_until(b"ready\n") == b"ready\n"
    os.kill(session.pid, number)
    assert session.finish() == (5, b"caught\ncaught\n")


def test_a_terminal_is_the_programs_controlling_one_with_the_size_of_ours(shared_lab: Lab) -> None:
    session = begin(shared_lab, "sh", "-c", "test -t 0 -a -t 1 && stty size </dev/tty && tty", terminal=True)
    code, text = session.finish()
    size, device = text.splitlines()
    assert (code, size) == (0, b"33 101")
    assert device.startswith(b"/dev/pts/")


def test_a_change_of_the_window_reaches_the_program(shared_lab: Lab) -> None:
    program = (
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH}); print('ready', flush=True);"
        "signal.sigwait({signal.SIGWINCH}); print(*os.get_terminal_size())"
    )
    session = begin(shared_lab, sys.executable, "-I", "-S", "-c", program, terminal=True)
    session.read_until(b"ready\r\n")
    termios.tcsetwinsize(session.near, (44, 55))
    assert session.finish() == (0, b"55 44\r\n")


def test_keys_go_to_the_program_raw_and_the_terminal_is_as_before_at_the_end(shared_lab: Lab) -> None:
    program = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}); print('ready', flush=True);"
        "signal.sigwait({signal.SIGINT}); print('interrupted'); raise SystemExit(9)"
    )
    session = begin(shared_lab, sys.executable, "-I", "-S", "-c", program, terminal=True)
    session.read_until(b"ready\r\n")
    raw = termios.tcgetattr(session.near)
    assert raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG) == 0
    # ^C is a key for the terminal in the host, not a signal for the one who typed it.
    os.write(session.near, b"\x03")
    session.read_until(b"interrupted\r\n")
    _, status = os.waitpid(session.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert termios.tcgetattr(session.near) == session.modes
    os.close(session.near)


def test_much_output_comes_whole_through_a_terminal(shared_lab: Lab) -> None:
    code, text = begin(shared_lab, "sh", "-c", "stty -opost; seq 1 60000", terminal=True).finish()
    assert code == 0
    assert text.split() == [str(number).encode() for number in range(1, 60001)]


def test_a_paste_longer_than_the_terminals_buffer_reaches_a_program_that_answers_each_line(shared_lab: Lab) -> None:
    session = begin(shared_lab, "sh", "-c", "stty -echo; echo ready; exec cat", terminal=True)
    session.read_until(b"ready\r\n")
    lines = b"".join(b"line %05d of a long paste\n" % number for number in range(2000))
    writer = os.fork()
    if writer == 0:
        try:
            view = lines + b"\x04"
            while view:
                view = view[os.write(session.near, view) :]
        finally:
            os._exit(0)
    code, text = session.finish()
    os.waitpid(writer, 0)
    assert code == 0
    assert text.replace(b"\r\n", b"\n") == lines


def test_without_a_terminal_asked_for_the_program_has_none(shared_lab: Lab) -> None:
    session = begin(shared_lab, "sh", "-c", "test -t 0 || echo none; (: </dev/tty) 2>/dev/null || echo none")
    assert session.finish() == (0, b"none\nnone\n")


def test_killing_the_one_who_called_ends_the_program(shared_lab: Lab) -> None:
    session = begin(shared_lab, "sh", "-c", "echo ready; sleep 1000")
    session.read_until(b"ready\n")
    os.kill(session.pid, signal.SIGKILL)
    # The end of the output is the end of the program: it held the other end of the pipe.
    assert session.finish() == (-signal.SIGKILL, b"")


def test_an_unknown_host_and_a_lab_that_is_not_there_are_refused(shared_lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(Refused) as no_host:
        exec_in_host(shared_lab.socket, "gamma", ["ls"], env=ENVIRONMENT)
    assert str(no_host.value) == "no host is named 'gamma'; there are: alpha, beta, mypc"
    for ask in (list_hosts, list_services):
        with pytest.raises(Refused) as no_lab:
            ask(tmp_path / "none.sock")
        assert str(no_lab.value) == f"no lab is running: {tmp_path}/none.sock: No such file or directory"
