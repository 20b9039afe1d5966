"""What rules of nf_tables are made of: one value a kernel expression. Pure.

Names, registers and constants: linux/netfilter/nf_tables.h. Only what our rules use is here; a rule of ours that
somebody changed to hold anything else decodes to `Unknown`, which equals nothing we would write.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

Register = int
"""1 to 4 name sixteen bytes each; 8 and on (NFT_REG32_00) name four, over the same memory: 8 is where 1 begins."""

REG_VERDICT = 0
REG_1 = 1
REG32_01 = 9

_SIXTEEN, _WORDS = 4, 8
"""NFT_REG_4, the last of sixteen bytes; NFT_REG32_00, the first of four."""


def word(register: Register, offset: int) -> Register:
    """The register `offset` words after where `register` begins, by the name the kernel prints."""
    index = word_index(register) + offset
    return index // 4 + 1 if index % 4 == 0 else index + _WORDS


def word_index(register: Register) -> int:
    """Where a register begins, in words; negative for the verdict's."""
    return (register - 1) * 4 if register <= _SIXTEEN else register - _WORDS


class PayloadBase(IntEnum):
    """NFT_PAYLOAD_*_HEADER."""

    NETWORK = 1
    TRANSPORT = 2


class MetaKey(IntEnum):
    """enum nft_meta_keys."""

    PRIORITY = 2
    MARK = 3
    IIFNAME = 6
    OIFNAME = 7
    NFTRACE = 12
    L4PROTO = 16


class CtKey(IntEnum):
    """enum nft_ct_keys."""

    STATUS = 2


class CmpOp(IntEnum):
    """enum nft_cmp_ops."""

    EQ = 0
    NEQ = 1


class Code(IntEnum):
    """Verdicts: NF_DROP and NF_ACCEPT of linux/netfilter.h, the others of enum nft_verdicts."""

    DROP = 0
    ACCEPT = 1
    CONTINUE = -1
    BREAK = -2
    JUMP = -3
    GOTO = -4
    RETURN = -5


class Verdict(Struct, frozen=True):
    """chain: where JUMP and GOTO lead, else ""."""

    code: Code
    chain: str = ""


DROP = Verdict(Code.DROP)
ACCEPT = Verdict(Code.ACCEPT)


def goto(chain: str) -> Verdict:
    return Verdict(Code.GOTO, chain)


def jump(chain: str) -> Verdict:
    return Verdict(Code.JUMP, chain)


class Payload(Struct, frozen=True):
    """Load `length` bytes of a header."""

    base: PayloadBase
    offset: int
    length: int
    dreg: Register = REG_1


class Meta(Struct, frozen=True):
    """Load what the kernel knows of the packet."""

    key: MetaKey
    dreg: Register = REG_1


class MetaSet(Struct, frozen=True):
    """Store a register in the packet's metadata."""

    key: MetaKey
    sreg: Register = REG_1


class Ct(Struct, frozen=True):
    """Load what conntrack knows of the packet's connection."""

    key: CtKey
    dreg: Register = REG_1


class FibType(Struct, frozen=True):
    """Load the kind of an address as routing has it (`fib daddr type`), RTN_LOCAL and so on.

    source: of the packet's source, else its destination.
    """

    source: bool
    dreg: Register = REG_1


class Cmp(Struct, frozen=True):
    """Go on with the rule only where the register is, or is not, `data`."""

    op: CmpOp
    data: bytes
    sreg: Register = REG_1


class Bitwise(Struct, frozen=True):
    """dreg = (sreg & mask) ^ xor."""

    mask: bytes
    xor: bytes
    sreg: Register = REG_1
    dreg: Register = REG_1


class Immediate(Struct, frozen=True):
    """Load a constant."""

    data: bytes
    dreg: Register = REG_1


class ImmediateVerdict(Struct, frozen=True):
    """End the rule with a verdict."""

    verdict: Verdict


class Lookup(Struct, frozen=True):
    """Ask a set or map for the bytes that begin at `sreg`, and go on only where it has them (or, inverted, has not).

    dreg: where a map's value goes, REG_VERDICT for a verdict; None for a set.
    """

    set: str
    sreg: Register = REG_1
    dreg: Register | None = None
    inverted: bool = False


class Numgen(Struct, frozen=True):
    """Load a random number from `offset` to `offset + modulus - 1`, each as likely as the next."""

    modulus: int
    offset: int = 0
    dreg: Register = REG_1


class Dnat(Struct, frozen=True):
    """Rewrite the destination; family: NFPROTO of the address."""

    family: int
    address: Register = REG_1
    port: Register = REG32_01


class Masquerade(Struct, frozen=True):
    """Rewrite the source to the address of the way out, with a port chosen at random."""


class Reject(Struct, frozen=True):
    """Answer with ICMP port unreachable."""

    icmp_code: int


class Update(Struct, frozen=True):
    """Put a register's bytes into a dynamic set, or begin their timeout anew (`update @set { ... }`)."""

    set: str
    sreg: Register = REG_1


class Counter(Struct, frozen=True):
    """Count packets and bytes."""


class Unknown(Struct, frozen=True):
    """An expression none of our rules has; data: its attributes as they came."""

    name: str
    data: bytes


Expression = (
    Payload
    | Meta
    | MetaSet
    | Ct
    | FibType
    | Cmp
    | Bitwise
    | Immediate
    | ImmediateVerdict
    | Lookup
    | Numgen
    | Dnat
    | Masquerade
    | Reject
    | Update
    | Counter
    | Unknown
)
