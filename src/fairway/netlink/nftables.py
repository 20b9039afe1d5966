"""The messages of nf_tables: linux/netfilter/nf_tables.h and nfnetlink.h. Pure.

Functions that make a message give a `Request`; those that read one take its body. Elements, which are many, have a
module of their own. Those that read raise ValueError for a broken message, and for one that lacks what all have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct as Layout

from msgspec import Struct

from fairway.netlink.expression_codec import decode_expressions, encode_expressions
from fairway.netlink.expressions import Expression
from fairway.netlink.wire import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    attribute,
    attributes,
    each_attribute,
    nested,
    text,
    to_int,
    to_text,
    u32,
    u64,
)

SUBSYSTEM = 10
"""NFNL_SUBSYS_NFTABLES."""
BATCH_BEGIN, BATCH_END = 16, 17
"""NFNL_MSG_BATCH_BEGIN and _END, message types of no subsystem."""
NFNLGRP_NFTABLES = 7
NFNLGRP_NFTRACE = 9

NFPROTO_IPV4, NFPROTO_IPV6 = 2, 10

NAME_LIMIT = 255
"""Bytes of the name of a table, chain or set, without its zero byte (NFT_NAME_MAXLEN)."""

GENERIC = Layout(">BBH")
"""struct nfgenmsg: family, version, resource."""


class Kind(IntEnum):
    """enum nf_tables_msg_types."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    DELSET = 11
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    NEWGEN = 15
    GETGEN = 16
    TRACE = 17


class SetFlag(IntFlag):
    """enum nft_set_flags."""

    ANONYMOUS = 0x1
    INTERVAL = 0x4
    MAP = 0x8
    TIMEOUT = 0x10
    EVAL = 0x20
    CONCAT = 0x80


class TableFlag(IntFlag):
    """enum nft_table_flags. OWNER: nobody else may change the table, and it goes with the socket that made it."""

    DORMANT = 0x1
    OWNER = 0x2


class Hook(IntEnum):
    """enum nf_inet_hooks."""

    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


@dataclass(frozen=True, slots=True)
class Request:
    """A message to send. kind: with its subsystem, as nlmsghdr has it. about: what an error of it should name."""

    kind: int
    flags: int
    body: bytes
    about: object = None


class Generation(Struct, frozen=True):
    """nf_tables' count of its commits, and who made the last one; port is only in notifications."""

    number: int
    process: str = ""
    pid: int = 0


class TableInfo(Struct, frozen=True):
    name: str
    family: int
    flags: int = 0
    userdata: bytes = b""


class ChainInfo(Struct, frozen=True):
    """hook, priority: of a base chain, else None. kind: its type ("nat"), "" of others."""

    table: str
    name: str
    hook: int | None = None
    priority: int = 0
    policy: int = 1
    kind: str = ""
    userdata: bytes = b""


class RuleInfo(Struct, frozen=True):
    table: str
    chain: str
    handle: int
    expressions: tuple[Expression, ...]
    userdata: bytes = b""


class SetInfo(Struct, frozen=True):
    """flags: SetFlag. key_type, data_type: nft's numbers. size: 0 for no limit. timeout_ms: of its elements."""

    table: str
    name: str
    flags: int
    key_type: int
    key_length: int
    data_type: int = 0
    data_length: int = 0
    size: int = 0
    timeout_ms: int = 0
    field_lengths: tuple[int, ...] = ()
    userdata: bytes = b""


VERDICT_DATA = 0xFFFFFF00
"""NFT_DATA_VERDICT, the data type of a map of verdicts."""

_TABLE_NAME, _TABLE_FLAGS, _TABLE_USERDATA = 1, 2, 6
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE, _CHAIN_USERDATA = 1, 3, 4, 5, 7, 12
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 3, 4, 7
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LEN = 1, 2, 3, 4, 5
_SET_DATA_TYPE, _SET_DATA_LEN, _SET_DESC, _SET_ID, _SET_TIMEOUT, _SET_USERDATA = 6, 7, 9, 10, 11, 13
_DESC_SIZE, _DESC_CONCAT = 1, 2
_LIST_ELEM, _FIELD_LEN = 1, 1
_GEN_ID, _GEN_PROC_PID, _GEN_PROC_NAME = 1, 2, 3
_BATCH_GENID = 1


def kind_of(message_type: int) -> Kind | None:
    """The Kind of an nlmsg_type; None where it is none of nf_tables'."""
    if message_type >> 8 != SUBSYSTEM:
        return None
    try:
        return Kind(message_type & 0xFF)
    except ValueError:
        return None


def body_of(data: bytes) -> bytes:
    """The attributes of a message's body."""
    return data[GENERIC.size :]


def family_of(data: bytes) -> int:
    """NFPROTO of a message's body. Raises ValueError for an empty one."""
    if not data:
        raise ValueError("a message without a family")
    return data[0]


def request(kind: Kind, family: int, *parts: bytes, flags: int = 0, about: object = None) -> Request:
    """A message of nf_tables."""
    return Request(SUBSYSTEM << 8 | kind, NLM_F_REQUEST | flags, GENERIC.pack(family, 0, 0) + b"".join(parts), about)


def begin(generation: int | None) -> Request:
    """Begins a batch. generation: the batch must find this one, or ERESTART is its answer; None for any."""
    check = u32(_BATCH_GENID, generation) if generation is not None else b""
    return Request(BATCH_BEGIN, NLM_F_REQUEST, GENERIC.pack(0, 0, SUBSYSTEM) + check)


def end() -> Request:
    return Request(BATCH_END, NLM_F_REQUEST, GENERIC.pack(0, 0, SUBSYSTEM))


def new_table(family: int, name: str, userdata: bytes = b"", flags: int = 0) -> Request:
    parts = [text(_TABLE_NAME, name), u32(_TABLE_FLAGS, flags)]
    if userdata:
        parts.append(attribute(_TABLE_USERDATA, userdata))
    return request(Kind.NEWTABLE, family, *parts, flags=NLM_F_CREATE, about=f"table {name}")


def delete_table(family: int, name: str) -> Request:
    """With everything in it. The answer is ENOENT where there is none."""
    return request(Kind.DELTABLE, family, text(_TABLE_NAME, name), about=f"table {name}")


def new_chain(family: int, chain: ChainInfo) -> Request:
    parts = [text(_CHAIN_TABLE, chain.table), text(_CHAIN_NAME, chain.name)]
    if chain.hook is not None:
        parts += [text(_CHAIN_TYPE, chain.kind), u32(_CHAIN_POLICY, chain.policy)]
        parts.append(
            nested(_CHAIN_HOOK, u32(_HOOK_NUMBER, chain.hook), u32(_HOOK_PRIORITY, chain.priority & 0xFFFFFFFF))
        )
    if chain.userdata:
        parts.append(attribute(_CHAIN_USERDATA, chain.userdata))
    return request(Kind.NEWCHAIN, family, *parts, flags=NLM_F_CREATE, about=f"chain {chain.name}")


def delete_chain(family: int, table: str, name: str) -> Request:
    """With its rules; nothing may lead to it any more."""
    return request(Kind.DELCHAIN, family, text(_CHAIN_TABLE, table), text(_CHAIN_NAME, name), about=f"chain {name}")


def new_rule(family: int, table: str, chain: str, expressions: tuple[Expression, ...], userdata: bytes) -> Request:
    """At the end of the chain."""
    parts = [
        text(_RULE_TABLE, table),
        text(_RULE_CHAIN, chain),
        nested(_RULE_EXPRESSIONS, encode_expressions(expressions)),
    ]
    if userdata:
        parts.append(attribute(_RULE_USERDATA, userdata))
    flags = NLM_F_CREATE | NLM_F_APPEND
    return request(Kind.NEWRULE, family, *parts, flags=flags, about=f"a rule of chain {chain}")


def flush_chain(family: int, table: str, chain: str) -> Request:
    """Delete all rules of the chain."""
    return request(
        Kind.DELRULE, family, text(_RULE_TABLE, table), text(_RULE_CHAIN, chain), about=f"the rules of chain {chain}"
    )


def new_set(family: int, info: SetInfo, identifier: int) -> Request:
    """identifier: any number that no other set of the batch has."""
    parts = [
        text(_SET_TABLE, info.table),
        text(_SET_NAME, info.name),
        u32(_SET_FLAGS, info.flags),
        u32(_SET_KEY_TYPE, info.key_type),
        u32(_SET_KEY_LEN, info.key_length),
    ]
    if info.flags & SetFlag.MAP:
        parts += [u32(_SET_DATA_TYPE, info.data_type), u32(_SET_DATA_LEN, info.data_length)]
    parts.append(u32(_SET_ID, identifier))
    if info.field_lengths:
        fields = [nested(_LIST_ELEM, u32(_FIELD_LEN, length)) for length in info.field_lengths]
        parts.append(nested(_SET_DESC, nested(_DESC_CONCAT, *fields)))
    elif info.size:
        parts.append(nested(_SET_DESC, u32(_DESC_SIZE, info.size)))
    if info.timeout_ms:
        parts.append(u64(_SET_TIMEOUT, info.timeout_ms))
    if info.userdata:
        parts.append(attribute(_SET_USERDATA, info.userdata))
    return request(Kind.NEWSET, family, *parts, flags=NLM_F_CREATE, about=f"set {info.name}")


def delete_set(family: int, table: str, name: str) -> Request:
    return request(Kind.DELSET, family, text(_SET_TABLE, table), text(_SET_NAME, name), about=f"set {name}")


def get_generation() -> Request:
    return request(Kind.GETGEN, 0, flags=NLM_F_ACK)


def get_table(family: int, name: str) -> Request:
    """One table; ENOENT where there is none."""
    return request(Kind.GETTABLE, family, text(_TABLE_NAME, name), flags=NLM_F_ACK, about=f"table {name}")


def dump(kind: Kind, family: int, table: str) -> Request:
    """All chains, rules or sets of a table. Of chains the kernel gives those of all tables of the family."""
    return request(kind, family, text(1, table), flags=NLM_F_DUMP, about=f"table {table}")


def decode_generation(body: bytes) -> Generation:
    found = attributes(body)
    return Generation(
        to_int(found[_GEN_ID]), to_text(found.get(_GEN_PROC_NAME, b"")), to_int(found.get(_GEN_PROC_PID, b""))
    )


def decode_table(body: bytes, family: int) -> TableInfo:
    found = attributes(body)
    return TableInfo(
        to_text(found[_TABLE_NAME]), family, to_int(found.get(_TABLE_FLAGS, b"")), found.get(_TABLE_USERDATA, b"")
    )


def decode_chain(body: bytes) -> ChainInfo:
    found = attributes(body)
    table, name = to_text(found[_CHAIN_TABLE]), to_text(found[_CHAIN_NAME])
    userdata = found.get(_CHAIN_USERDATA, b"")
    if _CHAIN_HOOK not in found:
        return ChainInfo(table, name, userdata=userdata)
    hook = attributes(found[_CHAIN_HOOK])
    return ChainInfo(
        table,
        name,
        hook=to_int(hook[_HOOK_NUMBER]),
        priority=int.from_bytes(hook[_HOOK_PRIORITY], "big", signed=True),
        policy=to_int(found.get(_CHAIN_POLICY, b"")),
        kind=to_text(found.get(_CHAIN_TYPE, b"")),
        userdata=userdata,
    )


def decode_rule(body: bytes) -> RuleInfo:
    found = attributes(body)
    return RuleInfo(
        to_text(found[_RULE_TABLE]),
        to_text(found[_RULE_CHAIN]),
        to_int(found.get(_RULE_HANDLE, b"")),
        decode_expressions(found.get(_RULE_EXPRESSIONS, b"")),
        found.get(_RULE_USERDATA, b""),
    )


def decode_set(body: bytes) -> SetInfo:
    found = attributes(body)
    described = attributes(found.get(_SET_DESC, b""))
    lengths = [attributes(field) for _, field in each_attribute(described.get(_DESC_CONCAT, b""))]
    return SetInfo(
        to_text(found[_SET_TABLE]),
        to_text(found[_SET_NAME]),
        flags=to_int(found.get(_SET_FLAGS, b"")),
        key_type=to_int(found.get(_SET_KEY_TYPE, b"")),
        key_length=to_int(found.get(_SET_KEY_LEN, b"")),
        data_type=to_int(found.get(_SET_DATA_TYPE, b"")),
        data_length=to_int(found.get(_SET_DATA_LEN, b"")),
        size=to_int(described.get(_DESC_SIZE, b"")) if not lengths else 0,
        timeout_ms=to_int(found.get(_SET_TIMEOUT, b"")),
        field_lengths=tuple(to_int(field[_FIELD_LEN]) for field in lengths),
        userdata=found.get(_SET_USERDATA, b""),
    )


def table_named(body: bytes) -> str:
    """The table that a notification of a table, chain, rule, set or element concerns: attribute 1 of each."""
    return to_text(attributes(body).get(1, b""))
