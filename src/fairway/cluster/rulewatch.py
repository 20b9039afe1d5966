"""Run by its path on a node, in a plain interpreter: prints the time of each commit to the node's rules.

A line "ready", then for every generation of nf_tables (NFT_MSG_NEWGEN on the multicast group NFNLGRP_NFTABLES,
linux/netfilter/nfnetlink.h and nf_tables.h) the wall clock in nanoseconds. Ends when its standard input is closed.
"""

import selectors
import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NEWGEN = 10 << 8 | 15
"""NFNL_SUBSYS_NFTABLES and NFT_MSG_NEWGEN as nlmsg_type."""


def main() -> None:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    listener.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if commits(listener.recv(1 << 20)):
                print(time.time_ns(), flush=True)


def commits(data: bytes) -> bool:
    """Whether a datagram of netlink messages tells of a commit."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, offset)
        if kind == NEWGEN:
            return True
        offset += max(16, (length + 3) & ~3)
    return False


if __name__ == "__main__":
    main()
