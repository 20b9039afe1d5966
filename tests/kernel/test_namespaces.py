"""The helper itself: what it isolates, and what it tells of a child that fails."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.kernel.namespaces import ChildError, in_namespaces, in_network_of, network_namespace

pytestmark = pytest.mark.kernel


def namespace(kind: str, pid: int | str = "self") -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def test_the_child_has_its_own_network_and_mounts_and_an_empty_run() -> None:
    def child() -> tuple[str, str, list[str], list[tuple[int, str]]]:
        return namespace("net"), namespace("mnt"), os.listdir("/run"), socket.if_nameindex()

    network, mounts, run, links = in_namespaces(child)
    assert network != namespace("net")
    assert mounts != namespace("mnt")
    assert run == []
    assert [name for _, name in links] == ["lo"]


def test_loopback_is_up_in_the_child() -> None:
    def child() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                with accepted:
                    accepted.sendall(b"hello")
                    return client.recv(5)

    assert in_namespaces(child) == b"hello"


def test_an_exception_in_the_child_comes_with_its_traceback() -> None:
    def child() -> None:
        raise ZeroDivisionError("in the child")

    with pytest.raises(ChildError, match=r"(?s)in child.*ZeroDivisionError: in the child"):
        in_namespaces(child)


def test_a_child_that_is_killed_is_told_by_its_signal() -> None:
    def child() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ChildError, match="ended with status -9 and said nothing"):
        in_namespaces(child)


def test_a_second_network_is_entered_for_a_block_and_ends_with_its_own() -> None:
    def child() -> tuple[bool, bool, bool]:
        own = namespace("net")
        with network_namespace() as pid:
            with in_network_of(pid):
                inside = namespace("net")
            return inside != own, inside == namespace("net", pid), namespace("net") == own

    assert in_namespaces(child) == (True, True, True)
