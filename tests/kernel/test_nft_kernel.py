"""The kernel holds what we say, nft reads it as we print it, and nobody else's table is touched."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from fairway.api.types import Key
from fairway.base.addresses import Family
from fairway.base.errors import Retry, Unsupported
from fairway.dataplane.nft import backend as backend_module
from fairway.dataplane.nft.backend import NftBackend
from fairway.dataplane.nft.diff import diff
from fairway.dataplane.nft.encode import encode
from fairway.dataplane.nft.lower import Share, lower, lower_service
from fairway.dataplane.nft.ruleset import TABLE, Chain, Rule, Ruleset
from fairway.dataplane.nft.text import canonical, format_table, table_name
from fairway.netlink.exchange import parts_within
from fairway.netlink.expressions import ImmediateVerdict, goto
from fairway.netlink.nftables import NFPROTO_IPV4, Generation, Kind, Request, delete_table, request
from fairway.netlink.socket import NetlinkSocket
from fairway.netlink.wire import NLM_F_CREATE, text, u32
from fairway.plan.assembly import Assembly
from fairway.plan.compile import compile_service
from tests.dataplane.nft.build import AFFINITY, LOCAL, assembly, many_endpoints, ruleset_of, scenarios
from tests.kernel.namespaces import in_namespaces
from tests.plan.objects import LOCAL_AND_REMOTE, REMOTE_ONLY, endpoint, endpoint_slice, every_door, service

pytestmark = pytest.mark.kernel

SCENARIOS = scenarios()
OWNER = 0x2
"""NFT_TABLE_F_OWNER of linux/netfilter/nf_tables.h: the table is gone with the socket that made it."""
FOREIGN = """\
table ip kube-proxy {
	comment "somebody else's"
	set cluster-ips {
		type ipv4_addr
		elements = { 10.0.0.1 }
	}
	chain services {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr @cluster-ips counter packets 3 bytes 180 accept
	}
}
table ip6 fairway-lab {
	chain a { type filter hook input priority 0; policy accept; }
}
table inet fairway {
	map services { type ipv4_addr : verdict; elements = { 10.0.0.1 : drop }; }
	chain b {
		counter packets 7 bytes 420
	}
}
table netdev fairway {
	chain c { }
}
"""


def nft(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(["nft", *arguments], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listing(family: Family = Family.IPV4) -> str:
    return nft("list", "table", *table_name(family).split())


def foreign() -> str:
    """Everything but our two tables."""
    tables = [line.split()[1:] for line in nft("list", "tables").splitlines()]
    others = [table for table in tables if table not in (["ip", "fairway"], ["ip6", "fairway"])]
    return "".join(nft("list", "table", *table) for table in others)


def apply(whole: Assembly, backend: NftBackend | None = None, changed: frozenset[Key] | None = None) -> Any:
    sync = (backend or NftBackend()).apply(whole, changed)
    assert sync.refused == {}
    return sync


@pytest.mark.parametrize("name", SCENARIOS)
def test_nft_lists_the_very_text_we_print(name: str) -> None:
    whole = SCENARIOS[name]

    def child() -> str:
        apply(whole)
        return listing(whole.view.family)

    assert in_namespaces(child) == format_table(ruleset_of(whole))


@pytest.mark.parametrize("name", SCENARIOS)
def test_nft_takes_its_listing_again(name: str) -> None:
    whole = SCENARIOS[name]

    def child() -> str:
        nft("-f", "-", given=format_table(ruleset_of(whole)))
        return listing(whole.view.family)

    assert in_namespaces(child) == format_table(ruleset_of(whole))


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_the_kernel_tells_is_what_was_meant_and_a_second_look_sends_nothing(name: str) -> None:
    whole = SCENARIOS[name]

    def child() -> tuple[bool, int, int, int]:
        backend = NftBackend()
        first = apply(whole, backend)
        delta = diff(backend.look(), ruleset_of(whole))
        return bool(delta), apply(whole, backend).messages, apply(whole).messages, first.messages

    differs, same, other, first = in_namespaces(child)
    assert not differs
    assert (same, other) == (0, 0)
    assert first


def test_from_any_scenario_to_the_next_equals_the_next_alone() -> None:
    """Incremental, where the node is the same, and by a backend that finds what another left."""
    chain = [name for name, whole in SCENARIOS.items() if whole.view == SCENARIOS["nothing"].view]

    def child() -> list[str]:
        backend, wrong = NftBackend(), []
        for name in (*chain, *reversed(chain)):
            whole = SCENARIOS[name]
            keys = frozenset(key for each in chain for key in SCENARIOS[each].parts)
            apply(whole, backend, keys)
            if canonical(listing()) != canonical(format_table(ruleset_of(whole))) or apply(whole).messages:
                wrong.append(name)
        return wrong

    assert len(chain) > 10
    assert in_namespaces(child) == []


def test_others_tables_are_byte_for_byte_as_they_were() -> None:
    def child() -> list[str]:
        nft("-f", "-", given=FOREIGN)
        seen, backend = [foreign()], NftBackend()
        for name in ("every door", "affinity", "IPv6 affinity", "local", "nothing"):
            apply(SCENARIOS[name], backend)
            seen.append(foreign())
        backend.cleanup()
        seen.append(nft("list", "ruleset"))
        return seen

    first, *later = in_namespaces(child)
    assert "packets 7 bytes 420" in first
    assert set(later[:-1]) == {first}
    assert later[-1].replace("\n", "") == first.replace("\n", "")


def test_cleanup_removes_both_tables_and_may_be_asked_again() -> None:
    def child() -> list[str]:
        apply(SCENARIOS["affinity"])
        apply(SCENARIOS["IPv6"])
        seen = [nft("list", "tables")]
        for _ in range(2):
            NftBackend().cleanup()
            seen.append(nft("list", "tables"))
        return seen

    assert in_namespaces(child) == ["table ip fairway\ntable ip6 fairway\n", "", ""]


ALIEN = {
    "another table's comment": 'comment "mine"',
    "no comment": "",
    "a set of another key": "set services { type ipv4_addr; }",
    "a set of the same name with a timeout": "set cluster-ips { typeof ip daddr; timeout 5s; }",
    "a base chain at another hook": "chain nat-output { type nat hook input priority 100; policy accept; }",
    "a chain that filters": "chain nat-output { type filter hook output priority 0; policy drop; }",
    "strange rules and elements": """
        map m { type ipv4_addr : verdict; elements = { 1.1.1.1 : jump c }; }
        chain c { limit rate 5/second accept; ip saddr { 1.1.1.1, 2.2.2.2 } drop; }
        chain nat-output { jump c; ip daddr vmap @m; }""",
}


@pytest.mark.parametrize("name", ALIEN)
def test_a_table_of_ours_that_is_of_another_make_is_made_anew(name: str) -> None:
    whole = SCENARIOS["every door"]

    def child() -> str:
        nft("-f", "-", given=f"table ip fairway {{\n{ALIEN[name]}\n}}")
        apply(whole)
        return listing()

    assert in_namespaces(child) == format_table(ruleset_of(whole))


TAMPERING = {
    "an element gone": "delete element ip fairway services { 10.200.1.5 . tcp . 80 }",
    "an element changed": (
        "delete element ip fairway services { 10.200.1.5 . tcp . 80 }\n"
        "add element ip fairway services { 10.200.1.5 . tcp . 80 : 0:2 }"
    ),
    "an element more": "add element ip fairway cluster-ips { 10.9.9.9 }",
    "a range more": "add element ip fairway source-ranges { 10.9.9.9 . tcp . 80 . 10.0.0.0/8 }",
    "a rule more": "insert rule ip fairway services drop",
    "rules gone": "flush chain ip fairway masquerading",
    "a chain more": "add chain ip fairway mine\nadd rule ip fairway mine jump dispatch",
    "a set more": "add set ip fairway mine { type ipv4_addr; }",
    "a rule with a set of its own": "insert rule ip fairway services ip saddr { 1.1.1.1, 2.2.2.2 } drop",
    "a rule with a map of its own": "insert rule ip fairway services ip saddr vmap { 1.1.1.1 : goto refuse }",
    "a chain and a map that lead to each other": (
        "add chain ip fairway mine\n"
        "add map ip fairway led { type ipv4_addr : verdict; elements = { 1.1.1.1 : goto mine }; }\n"
        "add rule ip fairway mine ip saddr vmap @led"
    ),
    "chains that lead to each other": (
        "add chain ip fairway one\nadd chain ip fairway two\nadd rule ip fairway one jump two\n"
        "insert rule ip fairway refuse jump one"
    ),
    "an element for every key": "add element ip fairway services { * : 0:2 }",
    "the table put to sleep": "add table ip fairway { flags dormant; }",
    "another policy": "add chain ip fairway nat-output { policy drop; }",
    "the table gone": "delete table ip fairway",
    "everything gone": "flush ruleset",
}


@pytest.mark.parametrize("name", TAMPERING)
def test_what_somebody_changed_is_told_and_mended(name: str) -> None:
    whole = SCENARIOS["every door"]

    def child() -> tuple[str, list[str], int]:
        backend = NftBackend()
        apply(whole, backend)
        nft("-f", "-", given=TAMPERING[name])
        sync = apply(whole, backend, frozenset())
        return listing(), [str(each) for each in sync.tampering], apply(whole, backend).messages

    text, told, again = in_namespaces(child)
    assert canonical(text) == canonical(format_table(ruleset_of(whole)))
    assert told
    assert "nft" in told[0]
    assert again == 0


def broken(ports: Any, settings: Any) -> Share:
    """As lower_service, but the Service `bad` leads to a chain nobody makes."""
    share = lower_service(ports, settings)
    if not any(port.name.service == "bad" for port in ports):
        return share
    return replace(share, chains=(Chain("strange", (Rule((ImmediateVerdict(goto("no-such-chain")),)),)),))


@pytest.mark.parametrize("everything", [True, False], ids=["a whole look", "one change"])
def test_what_somebody_does_while_we_are_at_it_is_told_and_mended_too(everything: bool) -> None:
    """Between what the backend first hears and its commit."""

    def child() -> tuple[list[str], bool]:
        backend = NftBackend()
        whole = assembly(service())
        backend.apply(whole, None)
        ask, strangers = backend._socket.generation, [delete_table(NFPROTO_IPV4, TABLE)]

        def generation() -> Generation:
            with NetlinkSocket() as stranger:
                while strangers:
                    stranger.commit([strangers.pop()])
            return ask()

        backend._socket.generation = generation  # where the race is lost
        changed = whole.put(compile_service(service(), [endpoint_slice(endpoint("10.10.2.7"))], whole.view))
        told = backend.apply(whole, None if everything else changed).tampering
        return [str(each) for each in told], not diff(backend.look(), lower(whole.plan()))

    told, is_mended = in_namespaces(child)
    assert is_mended
    [line] = told
    assert line.startswith("the table was deleted by ")


def test_what_somebody_does_after_our_commit_is_not_called_mended() -> None:
    def child() -> tuple[list[str], list[str]]:
        backend = NftBackend()
        whole = assembly(service())
        backend.apply(whole, None)
        send = backend._socket.commit

        def commit(requests: Sequence[Request], *, generation: int | None = None) -> int:
            parts = send(requests, generation=generation)
            with NetlinkSocket() as stranger:
                stranger.commit([delete_table(NFPROTO_IPV4, TABLE)])
            return parts

        backend._socket.commit = commit  # a stranger right behind us
        changed = whole.put(compile_service(service(), [endpoint_slice(endpoint("10.10.2.7"))], whole.view))
        mended = backend.apply(whole, changed).tampering
        return [str(each) for each in mended], [str(each) for each in backend.tampering()]

    mended, still = in_namespaces(child)
    assert mended == []
    assert "the table was deleted" in still[0]


def test_a_service_the_kernel_will_not_have_is_refused_by_name_and_all_others_are_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend_module, "lower_service", broken)
    names = ("a", "bad", "c", "d", "e")
    services = [service(name, clusterIP=f"10.200.1.{index}") for index, name in enumerate(names, 10)]
    slices = [endpoint_slice(endpoint("10.10.2.3"), of=name, name=name) for name in names]
    whole = assembly(services, *slices)
    sound = assembly([each for each in services if each.metadata.name != "bad"], *slices)
    bad = Key("default", "bad")

    def child() -> tuple[Mapping[Key, str], Mapping[Key, str], str]:
        at_once = NftBackend().apply(whole, None).refused
        NftBackend().cleanup()
        backend = NftBackend()
        apply(sound, backend)
        later = backend.apply(whole, frozenset({bad})).refused
        return at_once, later, listing()

    at_once, later, text = in_namespaces(child)
    assert list(at_once) == list(later) == [bad]
    assert "No such file or directory" in at_once[bad]
    assert canonical(text) == canonical(format_table(ruleset_of(sound)))


def test_without_the_privilege_it_is_unsupported() -> None:
    def child() -> list[str]:
        drop_network_admin()
        told = []
        for attempt in (lambda: NftBackend().apply(SCENARIOS["every door"], None), lambda: NftBackend().cleanup()):
            try:
                attempt()
            except Unsupported as error:
                told.append(str(error))
        return told

    told = in_namespaces(child)
    assert len(told) == 2
    assert all("CAP_NET_ADMIN" in each and "run as root" in each for each in told)


def drop_network_admin() -> None:
    """This process is nobody from now on, with no capability."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(8, 0, 0, 0, 0) == 0  # PR_SET_KEEPCAPS
    if os.getuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        assert libc.capset(header, (ctypes.c_uint32 * 6)()) == 0


def test_a_table_that_another_process_owns_is_named_as_such_and_taken_when_that_one_ends() -> None:
    def check() -> None:
        owned = request(Kind.NEWTABLE, NFPROTO_IPV4, text(1, TABLE), u32(2, OWNER), flags=NLM_F_CREATE)
        backend = NftBackend()
        with NetlinkSocket() as owner:
            owner.commit([owned])
            with pytest.raises(Retry, match=r"table fairway belongs to another process \(flags owner\)"):
                backend.apply(assembly(service()), None)
        assert backend.apply(assembly(service()), None).changed

    in_namespaces(check)


def test_small_send_buffers_end_with_an_equal_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several transactions in place of one: each of them is valid, so that the last is the table that was meant."""
    monkeypatch.setattr(NetlinkSocket, "_grow", lambda *_: 4096)
    before = assembly(every_door(**AFFINITY), many_endpoints(40))
    after = assembly(every_door(**LOCAL), LOCAL_AND_REMOTE)

    def child() -> tuple[int, str, str, int]:
        backend = NftBackend()
        generation = backend._socket.generation().number
        apply(before, backend)
        parts = backend._socket.generation().number - generation
        first = listing()
        apply(after, backend, frozenset(after.parts))
        return parts, first, listing(), apply(after).messages

    parts, first, second, again = in_namespaces(child)
    assert parts > 5
    assert first == format_table(ruleset_of(before))
    assert canonical(second) == canonical(format_table(ruleset_of(after)))
    assert again == 0


@pytest.mark.parametrize("name", ["every door", "affinity, local and guarded", "IPv6, local and guarded"])
def test_every_beginning_of_a_transaction_is_one(name: str) -> None:
    """Cut after any message the kernel takes it: the next apply finds a table that is ours to complete."""
    ruleset = ruleset_of(SCENARIOS[name])

    def child() -> list[int]:
        requests = encode(diff(None, ruleset), ruleset.protocol_family, ruleset.sets)
        taken = []
        with NetlinkSocket() as kernel:
            for part in parts_within(requests, 1):
                kernel.commit(part)
                taken.append(len(part))
        return taken

    taken = in_namespaces(child)
    assert set(taken) == {1}


def test_source_ranges_may_give_way_to_ranges_around_and_inside_them() -> None:
    """The kernel refuses ranges that overlap, also one that goes in the same transaction later."""
    inner, outer = ["10.128.0.0/9", "192.0.2.8/32"], ["10.0.0.0/8", "192.0.2.0/24"]
    plans = [assembly(every_door(loadBalancerSourceRanges=some), LOCAL_AND_REMOTE) for some in (inner, outer, inner)]

    def child() -> list[str]:
        backend, seen = NftBackend(), []
        for whole in plans:
            apply(whole, backend, frozenset(whole.parts))
            seen.append(listing())
        return seen

    for listed, whole in zip(in_namespaces(child), plans, strict=True):
        assert canonical(listed) == canonical(format_table(ruleset_of(whole)))


def test_a_table_somebody_else_holds_half_is_completed() -> None:
    def child() -> tuple[str, int]:
        ruleset: Ruleset = ruleset_of(SCENARIOS["affinity"])
        requests = encode(diff(None, ruleset), ruleset.protocol_family, ruleset.sets)
        with NetlinkSocket() as kernel:
            kernel.commit(requests[: len(requests) // 2])
        apply(SCENARIOS["affinity"])
        return listing(), apply(SCENARIOS["affinity"]).messages

    text, again = in_namespaces(child)
    assert canonical(text) == canonical(format_table(ruleset_of(SCENARIOS["affinity"])))
    assert again == 0


def test_clients_that_are_remembered_stay_while_other_things_change() -> None:
    def child() -> str:
        backend = NftBackend()
        first = assembly(every_door(**AFFINITY), LOCAL_AND_REMOTE)
        apply(first, backend)
        clients = [name for name in ruleset_of(first).sets if name.startswith("clients-")]
        for name in clients:
            nft("add", "element", "ip", "fairway", name, "{ 192.0.2.9 }")
        backend.tampering()
        apply(assembly(every_door(**AFFINITY), REMOTE_ONLY), backend)
        return listing()

    text = in_namespaces(child)
    assert text.count("elements = { 192.0.2.9 expires ") == 1
