"""The files that names are resolved with."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.kubelet.dns import ClusterDns, hosts_file, resolv_conf
from tests.kubelet.objects import POD_IP, pod_spec

NODE_FILE = "# by the node\nnameserver 9.9.9.9\nsearch example.com\noptions timeout:1\n"
CLUSTER = ClusterDns(nameservers=("10.200.1.10",))
SEARCH = "search default.svc.cluster.local svc.cluster.local cluster.local"


def test_hosts_name_the_pod_and_its_aliases() -> None:
    pod = pod_spec(subdomain="shop", hostAliases=[{"ip": "10.1.1.1", "hostnames": ["db", "db.local"]}])

    lines = hosts_file(pod, [POD_IP], domain="cluster.local").splitlines()

    assert lines[1] == "127.0.0.1\tlocalhost"
    assert lines[-4:] == [
        "10.10.1.2\tweb.shop.default.svc.cluster.local\tweb",
        "",
        "# Entries added by HostAliases.",
        "10.1.1.1\tdb\tdb.local",
    ]


def test_hosts_name_the_pod_at_each_of_its_addresses() -> None:
    lines = hosts_file(pod_spec(), [POD_IP, "fd00:10:10:1::2"], domain="cluster.local").splitlines()

    assert lines[-2:] == ["10.10.1.2\tweb", "fd00:10:10:1::2\tweb"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, f"{SEARCH}\nnameserver 10.200.1.10\noptions ndots:5\n"),
        ({"dnsPolicy": "Default"}, "search example.com\nnameserver 9.9.9.9\noptions timeout:1\n"),
        ({"hostNetwork": True}, "search example.com\nnameserver 9.9.9.9\noptions timeout:1\n"),
        (
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            f"{SEARCH}\nnameserver 10.200.1.10\noptions ndots:5\n",
        ),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, "nameserver 1.1.1.1\n"),
        (
            {"dnsConfig": {"searches": ["x"], "options": [{"name": "ndots", "value": "1"}]}},
            f"{SEARCH} x\nnameserver 10.200.1.10\noptions ndots:1\n",
        ),
    ],
)
def test_each_policy_has_its_resolv_conf(fields: dict[str, Any], text: str) -> None:
    assert resolv_conf(pod_spec(**fields), CLUSTER, NODE_FILE) == text


def test_a_cluster_without_dns_names_no_server() -> None:
    assert resolv_conf(pod_spec(), ClusterDns(), NODE_FILE) == f"{SEARCH}\noptions ndots:5\n"
