"""How a cluster was made is read from what kubeadm keeps, and what a lab writes is read back."""

from __future__ import annotations

from typing import Any

import pytest

from fairway.api.meta import ObjectMeta
from fairway.api.networking import ServiceCIDR, ServiceCIDRSpec
from fairway.base.errors import Refused
from fairway.cli.objects import NodeFlags
from fairway.cluster.kubeadm import ProxySettings, config_maps, settings_of
from fairway.plan.options import Mode


def published(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": name},
        "data": data,
    }


def proxy(text: str) -> dict[str, Any]:
    return published("kube-proxy", **{"config.conf": text})


def test_what_a_lab_writes_is_read_back() -> None:
    made = config_maps(
        mode=Mode.NFTABLES,
        pod_cidrs=["10.10.0.0/16", "fd00::/56"],
        service_cidrs=["10.8.0.0/16"],
        domain="cluster.local",
    )
    expected = ProxySettings(
        mode=Mode.NFTABLES, cluster_cidrs=("10.10.0.0/16", "fd00::/56"), service_cidrs=("10.8.0.0/16",)
    )
    assert settings_of(made) == expected


def test_without_any_nothing_is_told() -> None:
    elsewhere = proxy("mode: iptables")
    elsewhere["metadata"]["namespace"] = "default"
    assert settings_of([elsewhere]) == ProxySettings()


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("mode: ipvs", ProxySettings()),
        ('mode: ""', ProxySettings()),
        ("mode: iptables\niptables: {masqueradeAll: true, localhostNodePorts: false}", (True, False)),
        ("mode: nftables\niptables: {masqueradeAll: true}", (False, True)),
        (
            "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}",
            ProxySettings(detect_local_mode="BridgeInterface", bridge_interface="cni0"),
        ),
        ("nodePortAddresses: [primary]", ("primary",)),
        ("nodePortAddresses: null", ()),
    ],
)
def test_settings_of_the_proxies_are_read(text: str, settings: Any) -> None:
    told = settings_of([proxy(text)])
    match settings:
        case (bool(masquerade_all), localhost):
            assert (told.masquerade_all, told.localhost_node_ports) == (masquerade_all, localhost)
        case tuple():
            assert told.node_port_addresses == settings
        case _:
            assert told == settings


def test_the_networks_of_services_are_those_of_service_cidrs_where_there_are_any() -> None:
    made = config_maps(mode=Mode.NFTABLES, pod_cidrs=[], service_cidrs=["10.8.0.0/16"], domain="cluster.local")
    cidrs = [
        ServiceCIDR(metadata=ObjectMeta(name="kubernetes"), spec=ServiceCIDRSpec(cidrs=("10.7.0.0/16", "fd00::/112")))
    ]
    assert settings_of(made, cidrs).service_cidrs == ("10.7.0.0/16", "fd00::/112")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: [iptables]", "ConfigMap kube-system/kube-proxy: mode: expected a text"),
        ("iptables: yes", "ConfigMap kube-system/kube-proxy: iptables: expected a mapping"),
        ("[", "ConfigMap kube-system/kube-proxy: data.config.conf: while parsing"),
        ("just words", "ConfigMap kube-system/kube-proxy: expected a mapping"),
    ],
)
def test_a_document_that_is_none_is_named(text: str, message: str) -> None:
    with pytest.raises(Refused) as refusal:
        settings_of([proxy(text)])
    assert str(refusal.value).startswith(message)


def node(name: str, mode: str | None) -> dict[str, Any]:
    notes = {"annotations": {"fairway.dev/proxy-mode": mode}} if mode is not None else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, **notes}}


def test_nodes_tell_their_own_modes() -> None:
    nodes = [node("a", "iptables"), node("b", "nftables"), node("c", "ipvs"), node("d", None)]
    told = settings_of([proxy("mode: nftables"), *nodes])
    assert (told.mode, told.modes) == (Mode.NFTABLES, {"a": Mode.IPTABLES, "b": Mode.NFTABLES})


@pytest.mark.parametrize(
    ("flag", "node_name", "mode"),
    [
        (None, "a", Mode.IPTABLES),
        (None, "d", Mode.NFTABLES),
        (None, "", Mode.NFTABLES),
        (Mode.NFTABLES, "a", Mode.NFTABLES),
    ],
)
def test_a_flag_wins_over_the_nodes_own_mode_and_that_over_the_clusters(
    flag: Mode | None, node_name: str, mode: Mode
) -> None:
    told = settings_of([proxy("mode: nftables"), node("a", "iptables")])
    assert NodeFlags(mode=flag).options(told, node=node_name).mode is mode
