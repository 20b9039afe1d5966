"""What each question is answered, row by row (kubernetes/dns `docs/specification.md` 1.1.0)."""

from __future__ import annotations

import dns.name
import dns.rdatatype
import pytest
from dns.rcode import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, Rcode

from fairway.dns.answer import Answer, Question, answer
from tests.dns.clusters import CLUSTER

SVC = ".svc.cluster.local"


def ask(name: str, kind: str) -> Answer:
    return answer(Question(name=dns.name.from_text(name), type=dns.rdatatype.from_text(kind)), CLUSTER)


def records(sections: tuple[object, ...]) -> list[str]:
    """As a zone file has them, without the class, sorted."""
    return sorted(line.replace(" IN ", " ") for each in sections for line in str(each).splitlines())


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        # 2.2 the version of the schema
        ("dns-version.cluster.local", "TXT", ['dns-version.cluster.local. 5 TXT "1.1.0"']),
        # 2.3 Services with a clusterIP
        (f"web.default{SVC}", "A", [f"web.default{SVC}. 5 A 10.200.1.7"]),
        (f"dual.default{SVC}", "A", [f"dual.default{SVC}. 5 A 10.200.1.8"]),
        (f"dual.default{SVC}", "AAAA", [f"dual.default{SVC}. 5 AAAA fd00:10:200:1::8"]),
        (f"WEB.Default{SVC.upper()}", "A", [f"WEB.Default{SVC.upper()}. 5 A 10.200.1.7"]),
        (f"_http._tcp.web.default{SVC}", "SRV", [f"_http._tcp.web.default{SVC}. 5 SRV 0 100 80 web.default{SVC}."]),
        (f"_dns._udp.web.default{SVC}", "SRV", [f"_dns._udp.web.default{SVC}. 5 SRV 0 100 53 web.default{SVC}."]),
        (
            f"web.default{SVC}",
            "SRV",
            [f"web.default{SVC}. 5 SRV 0 50 {port} web.default{SVC}." for port in (53, 80)],
        ),
        (f"dual.default{SVC}", "SRV", [f"dual.default{SVC}. 5 SRV 0 100 9000 dual.default{SVC}."]),
        ("7.1.200.10.in-addr.arpa", "PTR", [f"7.1.200.10.in-addr.arpa. 5 PTR web.default{SVC}."]),
        (f"w-0.web.default{SVC}", "A", [f"w-0.web.default{SVC}. 5 A 10.10.1.1"]),
        # 2.4 headless Services: ready endpoints, and those of which nobody said that they are not
        (f"db.shop{SVC}", "A", [f"db.shop{SVC}. 5 A 10.10.1.{last}" for last in (2, 3, 5)]),
        (f"db.shop{SVC}", "AAAA", [f"db.shop{SVC}. 5 AAAA fd00:10:10:1::2"]),
        (f"db-0.db.shop{SVC}", "A", [f"db-0.db.shop{SVC}. 5 A 10.10.1.2"]),
        (f"db-0.db.shop{SVC}", "AAAA", [f"db-0.db.shop{SVC}. 5 AAAA fd00:10:10:1::2"]),
        (f"10-10-1-3.db.shop{SVC}", "A", [f"10-10-1-3.db.shop{SVC}. 5 A 10.10.1.3"]),
        (
            f"_http._tcp.db.shop{SVC}",
            "SRV",
            [
                f"_http._tcp.db.shop{SVC}. 5 SRV 0 33 8080 {host}.db.shop{SVC}."
                for host in ("10-10-1-3", "10-10-1-5", "db-0")
            ],
        ),
        (f"bare.shop{SVC}", "A", [f"bare.shop{SVC}. 5 A 10.10.2.1"]),
        ("2.1.10.10.in-addr.arpa", "PTR", [f"2.1.10.10.in-addr.arpa. 5 PTR db-0.db.shop{SVC}."]),
        ("3.1.10.10.in-addr.arpa", "PTR", [f"3.1.10.10.in-addr.arpa. 5 PTR 10-10-1-3.db.shop{SVC}."]),
        # 2.5 ExternalName: told, and followed while it stays here
        (f"away.shop{SVC}", "A", [f"away.shop{SVC}. 5 CNAME example.com."]),
        (f"away.shop{SVC}", "CNAME", [f"away.shop{SVC}. 5 CNAME example.com."]),
        (f"alias.shop{SVC}", "A", [f"alias.shop{SVC}. 5 CNAME web.default{SVC}.", f"web.default{SVC}. 5 A 10.200.1.7"]),
        (
            f"alias-of-alias.shop{SVC}",
            "A",
            [
                f"Alias.shop{SVC}. 5 CNAME web.default{SVC}.",
                f"alias-of-alias.shop{SVC}. 5 CNAME Alias.shop{SVC}.",
                f"web.default{SVC}. 5 A 10.200.1.7",
            ],
        ),
        (f"machine.shop{SVC}", "A", [f"machine.shop{SVC}. 5 CNAME mypc.", "mypc. 5 A 172.18.0.100"]),
        # machines, by name and address
        ("mypc", "A", ["mypc. 5 A 172.18.0.100"]),
        ("NODE-1", "AAAA", ["NODE-1. 5 AAAA fd00:172:18::5"]),
        ("100.0.18.172.in-addr.arpa", "PTR", ["100.0.18.172.in-addr.arpa. 5 PTR mypc."]),
        ("cluster.local", "NS", [f"cluster.local. 5 NS kube-dns.kube-system{SVC}."]),
    ],
)
def test_a_name_that_has_records_of_the_type(name: str, kind: str, expected: list[str]) -> None:
    told = ask(name, kind)
    assert (told.rcode, told.authoritative, told.authority) == (NOERROR, True, ())
    assert records(told.answer) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"_http._tcp.web.default{SVC}", [f"web.default{SVC}. 5 A 10.200.1.7"]),
        (f"dual.default{SVC}", [f"dual.default{SVC}. 5 A 10.200.1.8", f"dual.default{SVC}. 5 AAAA fd00:10:200:1::8"]),
        (
            f"_http._tcp.db.shop{SVC}",
            [
                f"10-10-1-3.db.shop{SVC}. 5 A 10.10.1.3",
                f"10-10-1-5.db.shop{SVC}. 5 A 10.10.1.5",
                f"db-0.db.shop{SVC}. 5 A 10.10.1.2",
                f"db-0.db.shop{SVC}. 5 AAAA fd00:10:10:1::2",
            ],
        ),
    ],
)
def test_the_addresses_of_a_target_come_with_it(name: str, expected: list[str]) -> None:
    assert records(ask(name, "SRV").additional) == expected


def test_only_srv_records_bring_addresses_with_them() -> None:
    assert ask(f"db.shop{SVC}", "A").additional == ()


def test_every_record_of_ipv6_reads_back() -> None:
    address = "8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.2.0.0.1.0.0.0.0.d.f.ip6.arpa"
    assert records(ask(address, "PTR").answer) == [f"{address}. 5 PTR dual.default{SVC}."]


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        # The name is there, and has nothing of the type: also where only names below it have anything (RFC 8020).
        (f"web.default{SVC}", "AAAA", NOERROR),
        (f"web.default{SVC}", "TXT", NOERROR),
        (f"web.default{SVC}", "ANY", NOERROR),
        (f"pending.shop{SVC}", "A", NOERROR),
        (f"bare.shop{SVC}", "SRV", NOERROR),
        (f"_tcp.web.default{SVC}", "SRV", NOERROR),
        (f"_http._tcp.web.default{SVC}", "A", NOERROR),
        (f"default{SVC}", "A", NOERROR),
        ("svc.cluster.local", "A", NOERROR),
        ("cluster.local", "A", NOERROR),
        (f"10-10-1-3.db.shop{SVC}", "AAAA", NOERROR),
        # There is no such name.
        (f"no.default{SVC}", "A", NXDOMAIN),
        (f"web.no{SVC}", "A", NXDOMAIN),
        (f"no{SVC}", "A", NXDOMAIN),
        ("web.default.cluster.local", "A", NXDOMAIN),
        ("mypc.cluster.local", "A", NXDOMAIN),
        (f"mypc.default{SVC}", "A", NXDOMAIN),
        (f"no.web.default{SVC}", "A", NXDOMAIN),
        (f"_no._tcp.web.default{SVC}", "SRV", NXDOMAIN),
        (f"_http._udp.web.default{SVC}", "SRV", NXDOMAIN),
        (f"_sctp.web.default{SVC}", "SRV", NXDOMAIN),
        (f"_._tcp.dual.default{SVC}", "SRV", NXDOMAIN),
        (f"_tcp.dual.default{SVC}", "SRV", NXDOMAIN),
        (f"x._http._tcp.web.default{SVC}", "SRV", NXDOMAIN),
        (f"x.away.shop{SVC}", "A", NXDOMAIN),
        (f"\\195\\164.default{SVC}", "A", NXDOMAIN),
        # An endpoint that is not ready, and a Service that has no other.
        (f"db-2.db.shop{SVC}", "A", NXDOMAIN),
        (f"10-10-1-4.db.shop{SVC}", "A", NXDOMAIN),
        (f"empty.shop{SVC}", "A", NXDOMAIN),
        (f"_http._tcp.empty.shop{SVC}", "SRV", NXDOMAIN),
        # The hostname takes the place of the name made of the address.
        (f"10-10-1-2.db.shop{SVC}", "A", NXDOMAIN),
    ],
)
def test_a_name_without_records_of_the_type_is_told_with_the_zone_that_knows(
    name: str, kind: str, rcode: Rcode
) -> None:
    told = ask(name, kind)
    assert (told.rcode, told.authoritative, told.answer) == (rcode, True, ())
    serial = CLUSTER.catalog.serial
    times = f"kube-dns.kube-system{SVC}. hostmaster.cluster.local. {serial} 7200 1800 86400 5"
    assert records(told.authority) == [f"cluster.local. 5 SOA {times}"]


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "apex"),
    [
        ("9.9.10.10.in-addr.arpa", "PTR", NXDOMAIN, "in-addr.arpa."),  # a slice of no Service
        ("4.1.10.10.in-addr.arpa", "PTR", NXDOMAIN, "in-addr.arpa."),  # not ready
        ("1.1.10.10.in-addr.arpa", "PTR", NXDOMAIN, "in-addr.arpa."),  # an endpoint of a Service with a clusterIP
        ("x.9.9.10.in-addr.arpa", "PTR", NXDOMAIN, "in-addr.arpa."),
        ("5.7.1.200.10.in-addr.arpa", "PTR", NXDOMAIN, "in-addr.arpa."),
        ("200.10.in-addr.arpa", "PTR", NOERROR, "in-addr.arpa."),
        ("7.1.200.10.in-addr.arpa", "A", NOERROR, "in-addr.arpa."),
        ("d.f.ip6.arpa", "PTR", NOERROR, "ip6.arpa."),
        ("mypc", "AAAA", NOERROR, "mypc."),
    ],
)
def test_machines_and_addresses_have_zones_of_their_own(name: str, kind: str, rcode: Rcode, apex: str) -> None:
    told = ask(name, kind)
    assert (told.rcode, told.answer, told.authority[0].name.to_text()) == (rcode, (), apex)


@pytest.mark.parametrize(
    "name", ["example.com", "local", ".", "x.mypc", "arpa", "web.default.svc", "cluster.local.lan"]
)
def test_nobody_is_asked_about_other_names(name: str) -> None:
    assert ask(name, "A") == Answer(rcode=REFUSED, authoritative=False)


def test_an_alias_of_nothing_is_told_with_why_it_leads_nowhere() -> None:
    told = ask(f"lost.shop{SVC}", "A")
    assert (told.rcode, records(told.answer)) == (NXDOMAIN, [f"lost.shop{SVC}. 5 CNAME no.shop{SVC}."])
    assert told.authority[0].name.to_text() == "cluster.local."


def test_an_alias_of_itself_ends() -> None:
    assert ask(f"round.shop{SVC}", "A").rcode == SERVFAIL
