"""A cluster to ask about: Services of every kind, endpoints with and without a hostname, machines beside it."""

from __future__ import annotations

from typing import Any

import dns.name

from fairway.base.addresses import parse_address
from fairway.dns.answer import View, Zone
from fairway.dns.catalog import Catalog
from fairway.dns.objects import read_service, read_slice

DOMAIN = dns.name.from_text("cluster.local")


def service(key: str, *addresses: str, ports: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    """A Service as the API gives it. key: NAMESPACE/NAME."""
    namespace, name = key.split("/")
    ips = {"clusterIP": addresses[0], "clusterIPs": list(addresses)} if addresses else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {**ips, "ports": ports or [], **spec},
    }


def endpoint_slice(
    key: str, *endpoints: dict[str, Any], of: str, kind: str = "IPv4", ports: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A slice of the Service named `of`, of its own namespace."""
    namespace, name = key.split("/")
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": of}},
        "addressType": kind,
        "endpoints": list(endpoints),
        "ports": ports,
    }


def endpoint(address: str, hostname: str | None = None, *, ready: bool | None = True) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": ready}, "hostname": hostname}


def view(services: list[dict[str, Any]], slices: list[dict[str, Any]]) -> View:
    machines = {"mypc": ("172.18.0.100",), "Node-1": ("172.18.0.5", "fd00:172:18::5")}
    return View(
        zone=Zone(
            domain=DOMAIN,
            server=dns.name.from_text("kube-dns.kube-system.svc", DOMAIN),
            machines={
                dns.name.from_text(name).canonicalize(): tuple(map(parse_address, addresses))
                for name, addresses in machines.items()
            },
        ),
        catalog=Catalog(map(read_service, services), map(read_slice, slices)),
    )


HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}
POD_HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}

CLUSTER = view(
    services=[
        service("default/web", "10.200.1.7", ports=[HTTP, DNS]),
        service("default/dual", "10.200.1.8", "fd00:10:200:1::8", ports=[{"port": 9000}]),
        service("shop/db", "None", ports=[HTTP]),
        service("shop/bare", "None"),
        service("shop/empty", "None", ports=[HTTP]),
        service("shop/alias", type="ExternalName", externalName="web.default.svc.cluster.local"),
        service("shop/alias-of-alias", type="ExternalName", externalName="Alias.shop.svc.cluster.local."),
        service("shop/away", type="ExternalName", externalName="example.com"),
        service("shop/machine", type="ExternalName", externalName="mypc"),
        service("shop/lost", type="ExternalName", externalName="no.shop.svc.cluster.local"),
        service("shop/round", type="ExternalName", externalName="round.shop.svc.cluster.local"),
        service("shop/pending"),
    ],
    slices=[
        endpoint_slice("default/web-a", endpoint("10.10.1.1", "w-0"), of="web", ports=[POD_HTTP]),
        endpoint_slice(
            "shop/db-a",
            endpoint("10.10.1.2", "db-0"),
            endpoint("10.10.1.3"),
            endpoint("10.10.1.4", "db-2", ready=False),
            endpoint("10.10.1.5", ready=None),
            of="db",
            ports=[POD_HTTP],
        ),
        endpoint_slice("shop/db-b", endpoint("fd00:10:10:1::2", "db-0"), of="db", kind="IPv6", ports=[POD_HTTP]),
        endpoint_slice("shop/db-c", endpoint("db.example.com"), of="db", kind="FQDN", ports=[POD_HTTP]),
        endpoint_slice("shop/bare-a", endpoint("10.10.2.1"), of="bare"),
        endpoint_slice("shop/empty-a", endpoint("10.10.1.9", ready=False), of="empty", ports=[POD_HTTP]),
        endpoint_slice("shop/nobody", endpoint("10.10.9.9"), of="gone"),
    ],
)
