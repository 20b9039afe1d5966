from __future__ import annotations

import os
import socket

import pytest

from fairway.fabric.namespaces import in_network_of
from tests.fabric.labs import in_scratch_network


def test_a_process_that_is_not_there_has_no_network_to_enter() -> None:
    with pytest.raises(ProcessLookupError):
        in_network_of(4_000_000, lambda: None)


@pytest.mark.kernel
def test_what_runs_in_another_network_leaves_the_caller_in_its_own_also_when_it_fails() -> None:
    def fail() -> None:
        raise LookupError("inside")

    def go() -> object:
        before = os.readlink("/proc/self/ns/net"), socket.if_nameindex()
        inside = in_network_of(os.getpid(), socket.if_nameindex)
        with pytest.raises(LookupError, match="inside"):
            in_network_of(os.getpid(), fail)
        return inside == before[1], (os.readlink("/proc/self/ns/net"), socket.if_nameindex()) == before

    assert in_scratch_network(go) == repr((True, True))
