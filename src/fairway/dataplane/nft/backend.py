"""The kernel's nf_tables, by netlink. With `monitor` the only module here that touches it.

What the kernel holds is observed: all of it at the start and after anything unexpected, and otherwise known from the
last commit for as long as nobody else committed to our table, which the kernel tells. Each commit names the generation
it builds on, so one that crosses somebody else's is refused and looked at again. Not for several threads at once.
"""

from __future__ import annotations

import errno
import gc
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.base.errors import Retry, Unsupported
from fairway.dataplane.nft.book import Book, Change
from fairway.dataplane.nft.chains import Settings
from fairway.dataplane.nft.decode import decode_elements, decode_sets, is_dynamic, observed
from fairway.dataplane.nft.diff import Delta, Observed, diff
from fairway.dataplane.nft.encode import encode, encode_removals
from fairway.dataplane.nft.lower import NOTHING, Share, join, lower_service
from fairway.dataplane.nft.monitor import Monitor, Tampering
from fairway.dataplane.nft.probe import dry_run, lacking
from fairway.dataplane.nft.ruleset import TABLE, protocol_family
from fairway.netlink.elements import dump_elements
from fairway.netlink.exchange import AnswerLost, Failure, KernelRefused
from fairway.netlink.nftables import Kind, Request, body_of, delete_table, dump, get_table
from fairway.netlink.socket import NetlinkSocket
from fairway.plan.assembly import Assembly
from fairway.plan.model import ServicePlan

RETRY_S = 1.0
_TRIES = 10
_LOUD = 500
"""So many elements at once are not worth hearing of one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What one apply came to.

    elements, messages, bytes: what was sent. refused: Services that are as they were, and why. tampering: what others
    had done to the table. build_s, commit_s: where the time went.
    """

    elements: int = 0
    messages: int = 0
    bytes: int = 0
    refused: Mapping[Key, str] = field(default_factory=dict)
    tampering: tuple[Tampering, ...] = ()
    build_s: float = 0.0
    commit_s: float = 0.0

    @property
    def changed(self) -> bool:
        return bool(self.messages)


class NftBackend:
    """Writes the table of one network namespace: the caller's, or that of a file descriptor.

    Raises Unsupported for a kernel without what the rules need, and without CAP_NET_ADMIN.
    """

    def __init__(self, *, namespace: int | None = None) -> None:
        self._socket = NetlinkSocket(namespace=namespace)
        self._namespace = namespace
        self._monitor: Monitor | None = None
        self._settings: Settings | None = None
        self._book: Book | None = None
        self._held: dict[Key, ServicePlan] = {}
        self._untold: list[Tampering] = []
        self._others: tuple[int, ...] = ()

    @property
    def port(self) -> int:
        """Of the socket it commits by."""
        return self._socket.port

    def be_deaf_to(self, ports: Iterable[int]) -> None:
        """Not to hear of these sockets' commits, which are of the other family's table. Before the first apply.

        Thousands of elements told one by one would fill the room for what a stranger does.
        """
        self._others = tuple(ports)

    def close(self) -> None:
        self._socket.close()
        if self._monitor is not None:
            self._monitor.close()

    def fileno(self) -> int | None:
        """Readable when somebody committed something; None before the first apply."""
        return self._monitor.fileno() if self._monitor is not None else None

    def tampering(self) -> list[Tampering]:
        """What others did to the table since it was last asked. After that, the next apply looks at all of it."""
        self._is_tampered()
        return self._take_untold()

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Sync:
        """Bring the table to what `assembly` says.

        changed: the Services that may differ from the last apply; None to look at everything, the kernel too. Raises
        Retry where it may work later, Unsupported where it never will.
        """
        started = time.perf_counter()
        sent = self._socket.messages, self._socket.bytes
        self._is_tampered()
        if self._settings != assembly.view:
            self._start_over(assembly)
        if changed is None or self._book is None:
            elements, spent, refused = self._apply_all(assembly)
        else:
            changes, refused = self._lower_some(assembly, changed)
            try:
                elements, spent = self._bring_some(changes.values())
                self._hold(assembly, changes)
            except (KernelRefused, AnswerLost):
                # Whatever it was: look at what there is, and at each Service by itself if need be.
                self._book = None
                elements, spent, refused = self._apply_all(assembly)
        return Sync(
            elements=elements,
            messages=self._socket.messages - sent[0],
            bytes=self._socket.bytes - sent[1],
            refused=refused,
            tampering=tuple(self._take_untold()),
            build_s=time.perf_counter() - started - spent,
            commit_s=spent,
        )

    def _apply_all(self, assembly: Assembly) -> tuple[int, float, dict[Key, str]]:
        with _collector_off():
            shares, refused = self._lower_all(assembly)
            elements, spent = self._bring_all(shares, refused)
        self._held = {key: part for key, part in self._held.items() if key in shares}
        self._hold(assembly, shares.keys() - refused.keys())
        return elements, spent, refused

    def look(self, family: Family | None = None) -> Observed | None:
        """What the kernel holds; None where there is no table of ours. Raises as `apply` does.

        family: None for the one that was applied last.
        """
        return self._observe(self._protocol if family is None else protocol_family(family))

    def cleanup(self, families: Iterable[Family] = tuple(Family)) -> None:
        """Remove our tables of these address families, and nothing else."""
        self._book = None
        for family in families:
            try:
                self._socket.commit([delete_table(protocol_family(family), TABLE)])
            except KernelRefused as refused:
                if refused.number not in (errno.ENOENT, errno.EAFNOSUPPORT):
                    raise self._translated(refused) from refused

    @property
    def _protocol(self) -> int:
        family = self._settings.family if self._settings is not None else Family.IPV4
        return protocol_family(family)

    def _start_over(self, assembly: Assembly) -> None:
        """Another node, as far as the rules know: what the kernel holds says nothing of any part."""
        self._settings = assembly.view
        self._held.clear()
        self._book = None

    # -- Services to shares

    def _lower_all(self, assembly: Assembly) -> tuple[dict[Key, Share], dict[Key, str]]:
        """The share of every Service, and why some have the one they had before, or none."""
        shares: dict[Key, Share] = {}
        refused: dict[Key, str] = {}
        for key, part in assembly.parts.items():
            try:
                shares[key] = self._lower(part)
            except ValueError as error:
                refused[key] = str(error)
                if key in self._held:
                    shares[key] = self._lower(self._held[key])
        return shares, refused

    def _lower_some(self, assembly: Assembly, changed: frozenset[Key]) -> tuple[dict[Key, Change], dict[Key, str]]:
        changes: dict[Key, Change] = {}
        refused: dict[Key, str] = {}
        for key in changed:
            try:
                changes[key] = Change(self._lower(self._held.get(key)), self._lower(assembly.parts.get(key)))
            except ValueError as error:
                refused[key] = str(error)
        return changes, refused

    def _lower(self, part: ServicePlan | None) -> Share:
        """Made anew each time it is needed: ten thousand of them would be a fifth of the agent's memory."""
        assert self._settings is not None
        return lower_service(part.ports, self._settings) if part is not None else NOTHING

    def _hold(self, assembly: Assembly, keys: Iterable[Key]) -> None:
        """The kernel has the shares of these Services' parts as they are now."""
        for key in keys:
            part = assembly.parts.get(key)
            if part is None:
                self._held.pop(key, None)
            else:
                self._held[key] = part

    # -- shares to the kernel

    def _is_tampered(self) -> bool:
        """Whether others did something to the table since it was last asked; kept until somebody is told of it."""
        found = self._monitor.tampering(self._socket.port) if self._monitor is not None else []
        if found:
            self._book = None
            self._untold += found
        return bool(found)

    def _take_untold(self) -> list[Tampering]:
        """What was heard until now; what came after our commit is heard only when the kernel is asked again."""
        told, self._untold = self._untold, []
        return told

    def _bring_some(self, changes: Collection[Change]) -> tuple[int, float]:
        """Elements sent, and seconds the kernel took. Raises KernelRefused and AnswerLost."""
        book = self._book
        assert book is not None
        delta = book.delta(changes)
        specs = book.specs(change.after for change in changes)
        spent = 0.0
        if delta:
            requests = encode(delta, self._protocol, specs)
            for _ in range(_TRIES):
                generation = self._socket.generation().number
                if self._is_tampered():
                    raise AnswerLost("somebody else changed the table")
                try:
                    spent = self._commit(delta, requests, generation)
                    break
                except KernelRefused as refused:
                    if refused.number != errno.ERESTART:
                        raise
            else:
                raise AnswerLost("others commit all the time")
        book.accept(changes)
        return delta.elements, spent

    def _bring_all(self, shares: dict[Key, Share], refused: dict[Key, str]) -> tuple[int, float]:
        """As `_bring_some`, from whatever is there; what the kernel will not have of `shares` goes to `refused`."""
        assert self._settings is not None
        if self._monitor is None:
            self._monitor = Monitor(self._protocol, namespace=self._namespace, deaf_to=self._others)
        reason: Exception | None = None
        for _ in range(_TRIES):
            try:
                seen, generation = self._observe_settled()
                desired = join(self._settings, shares.values())
                delta = diff(seen, desired)
                requests = encode(delta, self._protocol, desired.sets)
                spent = self._commit(delta, requests, generation)
            except (AnswerLost, _Unsettled) as error:
                reason = error
            except KernelRefused as error:
                reason = error
                if error.number != errno.ERESTART:
                    self._set_aside(shares, refused, error)
            else:
                self._book = Book(self._settings, shares.values())
                return delta.elements, spent
        raise Retry(f"nf_tables: {reason}; gave up after {_TRIES} tries", after_s=RETRY_S) from reason

    def _commit(self, delta: Delta, requests: list[Request], generation: int) -> float:
        """Send a Delta on top of a generation; gives the seconds it took."""
        assert self._monitor is not None
        if not delta:
            return 0.0
        loud = delta.elements > _LOUD
        if loud:
            self._monitor.ignore()
        started = time.perf_counter()
        try:
            parts = self._socket.commit(requests, generation=generation)
            removals = encode_removals(delta, self._protocol)
            if removals:
                parts += self._socket.commit(removals, generation=generation + parts)
        finally:
            self._monitor.hear()
        spent = time.perf_counter() - started
        if loud and self._socket.generation().number != generation + parts:
            raise AnswerLost("somebody else committed meanwhile")
        return spent

    def _observe_settled(self) -> tuple[Observed | None, int]:
        """What there is, and the generation it is of. Raises _Unsettled where somebody changed it meanwhile."""
        self._is_tampered()
        seen = self._observe(self._protocol)
        generation = self._socket.generation().number
        if self._is_tampered():
            raise _Unsettled("somebody else changes the table all the time")
        return seen, generation

    def _observe(self, family: int) -> Observed | None:
        try:
            ((_, table),) = self._socket.ask(get_table(family, TABLE))
        except KernelRefused as refused:
            if refused.number == errno.ENOENT:
                return None
            raise self._translated(refused) from refused
        try:
            sets = decode_sets(self._bodies(dump(Kind.GETSET, family, TABLE)))
            return observed(
                body_of(table),
                family,
                chains=self._bodies(dump(Kind.GETCHAIN, family, TABLE)),
                rules=self._bodies(dump(Kind.GETRULE, family, TABLE)),
                sets=sets,
                elements={
                    name: decode_elements(info, self._bodies(dump_elements(family, TABLE, name)))
                    for name, info in sets.items()
                    if not is_dynamic(info)
                },
            )
        except KernelRefused as refused:
            raise _Unsettled(str(refused)) from refused

    def _bodies(self, request: Request) -> list[bytes]:
        return [body_of(body) for _, body in self._socket.ask(request)]

    # -- what the kernel will not have

    def _set_aside(self, shares: dict[Key, Share], refused: dict[Key, str], error: KernelRefused) -> None:
        """Take out of `shares` the Services that cannot be loaded.

        Raises Unsupported where not even the fixed rules can, Retry where each Service can for itself.
        """
        if error.number == errno.EPERM:
            raise self._translated(error) from error  # no Service can mend that
        if self._refusal({}) is not None:
            raise self._unsupported(error) from error
        culprits = self._culprits(list(shares), shares)
        if not culprits:
            raise self._translated(error) from error
        refused |= culprits
        for key in culprits:
            del shares[key]

    def _culprits(self, keys: list[Key], shares: Mapping[Key, Share]) -> dict[Key, str]:
        """By halving: the Services that a table of their own could not be loaded with, and why."""
        refusal = self._refusal({key: shares[key] for key in keys})
        if refusal is None:
            return {}
        if len(keys) == 1:
            return {keys[0]: str(refusal)}
        middle = len(keys) // 2
        return self._culprits(keys[:middle], shares) | self._culprits(keys[middle:], shares)

    def _refusal(self, shares: Mapping[Key, Share]) -> Failure | None:
        """Why the kernel would not have the table of these Services; None where it would."""
        assert self._settings is not None
        desired = join(self._settings, shares.values())
        delta = diff(None, desired)
        delta.start_over = self._has_table()
        failures = dry_run(self._socket.commit, encode(delta, self._protocol, desired.sets), self._protocol)
        return failures[0] if failures else None

    def _has_table(self) -> bool:
        try:
            return bool(self._socket.ask(get_table(self._protocol, TABLE)))
        except KernelRefused:
            return False

    def _unsupported(self, error: KernelRefused) -> Unsupported | Retry:
        assert self._settings is not None
        lacks = lacking(self._socket.commit, self._settings.family)
        if not lacks:
            return self._translated(error)
        return Unsupported(
            f"this kernel lacks what mode nftables needs: {', '.join(lacks)}; `--proxy-mode iptables` works without"
        )

    def _translated(self, error: KernelRefused) -> Unsupported | Retry:
        if error.number == errno.EPERM and error.failures[0].index < 0:
            return Unsupported("nf_tables needs CAP_NET_ADMIN in this network namespace: run as root")
        if error.number == errno.EPERM:
            return Retry(
                f"table {TABLE} belongs to another process (flags owner): end it, or delete the table", after_s=RETRY_S
            )
        if error.number in (errno.EOPNOTSUPP, errno.EINVAL) and error.failures[0].index < 0:
            return Unsupported(
                "this kernel has no nf_tables (CONFIG_NF_TABLES); `--proxy-mode iptables` may work without"
            )
        return Retry(f"nf_tables refused: {error}", after_s=RETRY_S)


@contextmanager
def _collector_off() -> Iterator[None]:
    """A whole table is hundreds of thousands of values, none in a cycle, which the collector would go through often."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Unsettled(Exception):
    """The table changed while it was looked at."""
