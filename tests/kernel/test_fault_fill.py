"""A table of connections filled to the kernel's limit: what stands goes on, and nothing new begins."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from typing import TypeVar

import pytest

from fairway.cluster.fault.fill import Filler
from fairway.fabric.syscalls import set_loopback_up
from fairway.netlink.conntrack import Usage
from fairway.netlink.flows import FlowTable
from tests.kernel.namespaces import in_namespaces

pytestmark = pytest.mark.kernel

T = TypeVar("T")

TRACKED = "table inet filter { chain out { type filter hook output priority 0; ct state new accept; }; }"
"""The kernel tracks connections where a rule needs it."""


def usage() -> Usage:
    with FlowTable() as table:
        return table.usage()


def connects(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(0.5)
        try:
            client.connect(("127.0.0.1", port))
        except (TimeoutError, PermissionError):
            return False
    return True


def filled(percent: int, look: Callable[[], T], *, leave: bool = False) -> T:
    """What is seen in this namespace while the table is filled. leave: the entries stay, as a killed keeper's."""

    async def run() -> T:
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
        filler = Filler(namespace, 3, percent)
        os.close(namespace)
        filler.open()
        try:
            return look()
        finally:
            if not leave:
                filler.close()

    return asyncio.run(run())


def test_a_full_table_lets_nothing_begin_and_all_that_stands_go_on() -> None:
    def play() -> tuple[bool, bool, bytes, bool]:
        set_loopback_up()
        subprocess.run(["nft", "-f", "-"], input=TRACKED, text=True, check=True)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(server.getsockname()) as old, server.accept()[0] as accepted:
                before = connects(port)

                def look() -> tuple[bool, bytes]:
                    old.sendall(b"still there")
                    return connects(port), accepted.recv(100)

                return before, *filled(100, look), connects(port)

    assert in_namespaces(play) == (True, False, b"still there", True)


def test_a_share_is_of_the_limit_and_nothing_of_it_stays() -> None:
    def play() -> tuple[Usage, Usage]:
        return filled(50, usage), usage()

    during, after = in_namespaces(play)
    assert during.entries == during.limit // 2
    assert after.entries == 0


def test_what_a_killed_keeper_left_is_taken_over_and_deleted() -> None:
    def play() -> tuple[int, int, int]:
        left = filled(2, lambda: usage().entries, leave=True)
        return left, filled(1, lambda: usage().entries), usage().entries

    left, again, after = in_namespaces(play)
    assert again == left // 2
    assert after == 0
