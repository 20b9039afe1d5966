"""`fairway shell`: a login shell in a node, a pod or a client."""

from __future__ import annotations

import os
import pty

import pytest

from tests.lab.command import User

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("target", ["myk8s-worker", "mypc", "webpod1"])
def test_it_reads_its_commands_from_standard_input_and_passes_its_exit_status_on(lab: User, target: str) -> None:
    answer = lab.fairway("shell", target, stdin="hostname\nshopt -q login_shell && echo login\nexit 7\n", SHELL="")
    assert (answer.code, answer.out.splitlines()[-2:]) == (7, [target, "login"])


def test_a_shell_that_the_host_has_not_is_no_obstacle(lab: User) -> None:
    answer = lab.fairway("shell", "mypc", stdin="echo here\n", SHELL="/opt/none; exit 9")
    assert (answer.code, answer.out.splitlines()[-1]) == (0, "here")


def test_it_has_a_terminal_where_its_caller_has_one(lab: User) -> None:
    mine, its = pty.openpty()
    try:
        with lab.start_on(its, "shell", "myk8s-worker", SHELL="/bin/sh") as process:
            assert os.read(mine, 1)  # its prompt: what is typed before is not for it
            os.write(mine, b"test -t 0 && exit 5\n")
            assert process.wait(timeout=60) == 5
    finally:
        os.close(mine)
        os.close(its)


def test_a_name_that_is_none_is_refused_with_the_near_one(lab: User) -> None:
    answer = lab.fairway("shell", "myk8s-wroker")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.endswith("did you mean 'myk8s-worker'?\n")
