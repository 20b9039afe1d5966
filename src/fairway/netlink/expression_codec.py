"""Expressions as the attributes of their messages, and back: linux/netfilter/nf_tables.h. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fairway.netlink.expressions import (
    REG_VERDICT,
    Bitwise,
    Cmp,
    CmpOp,
    Code,
    Counter,
    Ct,
    CtKey,
    Dnat,
    Expression,
    FibType,
    Immediate,
    ImmediateVerdict,
    Lookup,
    Masquerade,
    Meta,
    MetaKey,
    MetaSet,
    Numgen,
    Payload,
    PayloadBase,
    Reject,
    Unknown,
    Update,
    Verdict,
)
from fairway.netlink.wire import (
    Attributes,
    attribute,
    attributes,
    each_attribute,
    nested,
    text,
    to_int,
    to_text,
    u8,
    u32,
    u64,
)

_NFTA_LIST_ELEM = 1
_NFTA_EXPR_NAME, _NFTA_EXPR_DATA = 1, 2
_NFTA_DATA_VALUE, _NFTA_DATA_VERDICT = 1, 2
_NFTA_VERDICT_CODE, _NFTA_VERDICT_CHAIN = 1, 2

_NFT_FIB_RESULT_ADDRTYPE = 3
_NFTA_FIB_F_SADDR, _NFTA_FIB_F_DADDR = 0x1, 0x2
_NFT_NG_RANDOM = 1
_NFT_NAT_DNAT = 1
_NF_NAT_RANGE_MAP_IPS, _NF_NAT_RANGE_PROTO_SPECIFIED = 0x1, 0x2
_NF_NAT_RANGE_PROTO_RANDOM_FULLY = 0x10
_NFT_REJECT_ICMP_UNREACH = 0
_NFT_LOOKUP_F_INV = 0x1
_NFT_DYNSET_OP_UPDATE = 1


def encode_expressions(expressions: Iterable[Expression]) -> bytes:
    """As the value of NFTA_RULE_EXPRESSIONS, without the header of that attribute."""
    return b"".join(_encode(expression) for expression in expressions)


def decode_expressions(data: bytes) -> tuple[Expression, ...]:
    """The value of NFTA_RULE_EXPRESSIONS. Raises ValueError for broken attributes."""
    return tuple(_decode(value) for _, value in each_attribute(data))


def encode_verdict(verdict: Verdict) -> bytes:
    """As an attribute NFTA_DATA_VERDICT."""
    parts = [u32(_NFTA_VERDICT_CODE, verdict.code & 0xFFFFFFFF)]
    if verdict.chain:
        parts.append(text(_NFTA_VERDICT_CHAIN, verdict.chain))
    return nested(_NFTA_DATA_VERDICT, *parts)


def decode_verdict(data: bytes) -> Verdict:
    """The value of NFTA_DATA_VERDICT. Raises ValueError for a code that is none."""
    found = attributes(data)
    code = int.from_bytes(found[_NFTA_VERDICT_CODE], "big", signed=True)
    return Verdict(Code(code), to_text(found.get(_NFTA_VERDICT_CHAIN, b"")))


def encode_value(data: bytes) -> bytes:
    """As an attribute NFTA_DATA_VALUE."""
    return attribute(_NFTA_DATA_VALUE, data)


def decode_data(data: bytes) -> bytes | Verdict:
    """What an attribute of type nft_data holds. Raises ValueError where that is neither."""
    found = attributes(data)
    if _NFTA_DATA_VERDICT in found:
        return decode_verdict(found[_NFTA_DATA_VERDICT])
    return found[_NFTA_DATA_VALUE]


def _encode(expression: Expression) -> bytes:
    if isinstance(expression, Unknown):
        body, name = attribute(_NFTA_EXPR_DATA, expression.data), expression.name
    else:
        name, encode = _ENCODERS[type(expression)]
        body = nested(_NFTA_EXPR_DATA, *encode(expression))
    return nested(_NFTA_LIST_ELEM, text(_NFTA_EXPR_NAME, name), body)


def _decode(data: bytes) -> Expression:
    found = attributes(data)
    name = to_text(found[_NFTA_EXPR_NAME])
    inner = found.get(_NFTA_EXPR_DATA, b"")
    decode = _DECODERS.get(name)
    try:
        decoded = decode(attributes(inner)) if decode is not None else None
    except ValueError:
        decoded = None
    return decoded if decoded is not None else Unknown(name, inner)


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, encode_value(value))


# Attribute numbers below: enum nft_payload_attributes, nft_meta_attributes and so on, in the kernel's order.


def _payload(e: Payload) -> list[bytes]:
    return [u32(1, e.dreg), u32(2, e.base), u32(3, e.offset), u32(4, e.length)]


def _meta(e: Meta) -> list[bytes]:
    return [u32(2, e.key), u32(1, e.dreg)]


def _meta_set(e: MetaSet) -> list[bytes]:
    return [u32(2, e.key), u32(3, e.sreg)]


def _ct(e: Ct) -> list[bytes]:
    return [u32(2, e.key), u32(1, e.dreg)]


def _fib(e: FibType) -> list[bytes]:
    flags = _NFTA_FIB_F_SADDR if e.source else _NFTA_FIB_F_DADDR
    return [u32(3, flags), u32(2, _NFT_FIB_RESULT_ADDRTYPE), u32(1, e.dreg)]


def _cmp(e: Cmp) -> list[bytes]:
    return [u32(1, e.sreg), u32(2, e.op), _data(3, e.data)]


def _bitwise(e: Bitwise) -> list[bytes]:
    length = len(e.mask)
    return [u32(1, e.sreg), u32(2, e.dreg), u32(6, 0), u32(3, length), _data(4, e.mask), _data(5, e.xor)]


def _immediate(e: Immediate) -> list[bytes]:
    return [u32(1, e.dreg), _data(2, e.data)]


def _immediate_verdict(e: ImmediateVerdict) -> list[bytes]:
    return [u32(1, REG_VERDICT), nested(2, encode_verdict(e.verdict))]


def _lookup(e: Lookup) -> list[bytes]:
    parts = [u32(2, e.sreg)]
    if e.dreg is not None:
        parts.append(u32(3, e.dreg))
    parts.append(text(1, e.set))
    if e.inverted:
        parts.append(u32(5, _NFT_LOOKUP_F_INV))
    return parts


def _numgen(e: Numgen) -> list[bytes]:
    return [u32(1, e.dreg), u32(2, e.modulus), u32(3, _NFT_NG_RANDOM), u32(4, e.offset)]


def _dnat(e: Dnat) -> list[bytes]:
    # The ends of both ranges, and the flags that there are such, are the kernel's to add.
    return [u32(1, _NFT_NAT_DNAT), u32(2, e.family), u32(3, e.address), u32(5, e.port)]


def _masquerade(_: Masquerade) -> list[bytes]:
    return [u32(1, _NF_NAT_RANGE_PROTO_RANDOM_FULLY)]


def _reject(e: Reject) -> list[bytes]:
    return [u32(1, _NFT_REJECT_ICMP_UNREACH), u8(2, e.icmp_code)]


def _update(e: Update) -> list[bytes]:
    return [u32(4, e.sreg), u32(3, _NFT_DYNSET_OP_UPDATE), text(1, e.set)]


def _counter(_: Counter) -> list[bytes]:
    return [u64(1, 0), u64(2, 0)]


_ENCODERS: Mapping[type, tuple[str, Callable[..., list[bytes]]]] = {
    Payload: ("payload", _payload),
    Meta: ("meta", _meta),
    MetaSet: ("meta", _meta_set),
    Ct: ("ct", _ct),
    FibType: ("fib", _fib),
    Cmp: ("cmp", _cmp),
    Bitwise: ("bitwise", _bitwise),
    Immediate: ("immediate", _immediate),
    ImmediateVerdict: ("immediate", _immediate_verdict),
    Lookup: ("lookup", _lookup),
    Numgen: ("numgen", _numgen),
    Dnat: ("nat", _dnat),
    Masquerade: ("masq", _masquerade),
    Reject: ("reject", _reject),
    Update: ("dynset", _update),
    Counter: ("counter", _counter),
}


def _read_payload(a: Attributes) -> Expression | None:
    return Payload(PayloadBase(to_int(a[2])), to_int(a[3]), to_int(a[4]), to_int(a[1])) if 1 in a else None


def _read_meta(a: Attributes) -> Expression:
    key = MetaKey(to_int(a[2]))
    return MetaSet(key, to_int(a[3])) if 3 in a else Meta(key, to_int(a[1]))


def _read_ct(a: Attributes) -> Expression | None:
    return Ct(CtKey(to_int(a[2])), to_int(a[1])) if 1 in a and 3 not in a else None


def _read_fib(a: Attributes) -> Expression | None:
    flags = to_int(a[3])
    plain = to_int(a[2]) == _NFT_FIB_RESULT_ADDRTYPE and flags in (_NFTA_FIB_F_SADDR, _NFTA_FIB_F_DADDR)
    return FibType(flags == _NFTA_FIB_F_SADDR, to_int(a[1])) if plain else None


def _read_cmp(a: Attributes) -> Expression | None:
    data = decode_data(a[3])
    return Cmp(CmpOp(to_int(a[2])), data, to_int(a[1])) if isinstance(data, bytes) else None


def _read_bitwise(a: Attributes) -> Expression | None:
    if to_int(a.get(6, b"")):
        return None  # a shift, or an operation newer than this
    mask, xor = decode_data(a[4]), decode_data(a[5])
    if isinstance(mask, Verdict) or isinstance(xor, Verdict):
        return None
    return Bitwise(mask, xor, to_int(a[1]), to_int(a[2]))


def _read_immediate(a: Attributes) -> Expression:
    data = decode_data(a[2])
    return ImmediateVerdict(data) if isinstance(data, Verdict) else Immediate(data, to_int(a[1]))


def _read_lookup(a: Attributes) -> Expression:
    dreg = to_int(a[3]) if 3 in a else None
    return Lookup(to_text(a[1]), to_int(a[2]), dreg, bool(to_int(a.get(5, b"")) & _NFT_LOOKUP_F_INV))


def _read_numgen(a: Attributes) -> Expression | None:
    if to_int(a[3]) != _NFT_NG_RANDOM:
        return None
    return Numgen(to_int(a[2]), to_int(a.get(4, b"")), to_int(a[1]))


def _read_nat(a: Attributes) -> Expression | None:
    flags = to_int(a.get(7, b""))
    ours = _NF_NAT_RANGE_MAP_IPS | _NF_NAT_RANGE_PROTO_SPECIFIED
    plain = to_int(a[1]) == _NFT_NAT_DNAT and flags & ~ours == 0 and a[3] == a.get(4, a[3]) and a[5] == a.get(6, a[5])
    return Dnat(to_int(a[2]), to_int(a[3]), to_int(a[5])) if plain else None


def _read_masquerade(a: Attributes) -> Expression | None:
    plain = to_int(a.get(1, b"")) == _NF_NAT_RANGE_PROTO_RANDOM_FULLY and 2 not in a
    return Masquerade() if plain else None


def _read_reject(a: Attributes) -> Expression | None:
    return Reject(to_int(a[2])) if to_int(a[1]) == _NFT_REJECT_ICMP_UNREACH else None


def _read_update(a: Attributes) -> Expression | None:
    plain = to_int(a[3]) == _NFT_DYNSET_OP_UPDATE and 5 not in a and not to_int(a.get(6, b""))
    return Update(to_text(a[1]), to_int(a[4])) if plain else None


def _read_counter(_: Attributes) -> Expression:
    return Counter()


_DECODERS: Mapping[str, Callable[[Attributes], Expression | None]] = {
    "payload": _read_payload,
    "meta": _read_meta,
    "ct": _read_ct,
    "fib": _read_fib,
    "cmp": _read_cmp,
    "bitwise": _read_bitwise,
    "immediate": _read_immediate,
    "lookup": _read_lookup,
    "numgen": _read_numgen,
    "nat": _read_nat,
    "masq": _read_masquerade,
    "reject": _read_reject,
    "dynset": _read_update,
    "counter": _read_counter,
}
