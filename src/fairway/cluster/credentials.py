"""Every certificate, key and kubeconfig of a lab, written to its folder before it starts."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from fairway.cluster.pki import Authority, KeyPair, kubeconfig, new_signing_key
from fairway.cluster.scenario import API_PORT, Scenario
from fairway.cluster.state import LabState

CLUSTER_DOMAIN = "cluster.local"


def authority_path(state: LabState) -> Path:
    """The certificate everyone trusts."""
    return state.pki / "ca.crt"


def certificate_paths(state: LabState, name: str) -> tuple[Path, Path]:
    """Certificate and key of a server or of the API server as a kubelet's client."""
    return state.pki / f"{name}.crt", state.pki / f"{name}.key"


def component_kubeconfig(state: LabState, component: str) -> Path:
    """The kubeconfig of a part of the cluster: kubelet-NODE, kube-proxy, controller-manager, dns."""
    return state.pki / f"{component}.kubeconfig"


def service_account_key_path(state: LabState) -> Path:
    """What signs tokens of service accounts, by kubeadm's name for it."""
    return state.pki / "sa.key"


def write_all(state: LabState, scenario: Scenario, *, api: str, now: datetime) -> None:
    """Make a new authority and everything it signs; its own key is kept nowhere.

    api: the API server's URL for people, on the host's loopback; the cluster's parts use the control plane's address.
    Users and groups are Kubernetes' own (PKI certificates and requirements): what authorises them comes by these names.
    """
    authority = Authority.create(f"fairway-{state.name}-ca", now=now)
    _write(authority_path(state), authority.certificate)

    inside = f"https://{scenario.api_address}:{API_PORT}"
    cluster = f"fairway-{state.name}"

    def config(path: Path, user: str, *groups: str, server: str = inside) -> None:
        identity = authority.issue_client(user, *groups)
        text = kubeconfig(cluster=cluster, server=server, user=user, authority=authority.certificate, identity=identity)
        _write(path, text.encode())

    config(state.kubeconfig, "kubernetes-admin", "system:masters", server=api)
    config(component_kubeconfig(state, "kube-proxy"), "system:kube-proxy")
    config(component_kubeconfig(state, "controller-manager"), "system:kube-controller-manager")
    # CoreDNS is a pod, and has the identity of its service account.
    service_accounts = ("system:serviceaccounts", "system:serviceaccounts:kube-system")
    config(component_kubeconfig(state, "dns"), "system:serviceaccount:kube-system:coredns", *service_accounts)

    _write(service_account_key_path(state), new_signing_key())
    _write_pair(state, "apiserver", authority.issue_server("kube-apiserver", hosts=_api_hosts(scenario)))
    _write_pair(
        state,
        "apiserver-kubelet-client",
        authority.issue_client("kube-apiserver-kubelet-client", "kubeadm:cluster-admins"),
    )
    for node in scenario.topology.nodes:
        config(component_kubeconfig(state, f"kubelet-{node.name}"), f"system:node:{node.name}", "system:nodes")
        hosts = [node.name, *map(str, node.addresses)]
        _write_pair(state, f"kubelet-{node.name}", authority.issue_server(f"system:node:{node.name}", hosts=hosts))


def _api_hosts(scenario: Scenario) -> list[str]:
    """The names and addresses the API server answers under (kubeadm's list, and the host's loopback)."""
    service = str(next(scenario.topology.service_cidr.hosts()))
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}"]
    return ["127.0.0.1", "localhost", *names, scenario.control_plane, scenario.api_address, service]


def _write_pair(state: LabState, name: str, pair: KeyPair) -> None:
    certificate, key = certificate_paths(state, name)
    _write(certificate, pair.certificate)
    _write(key, pair.key)


def _write(path: Path, content: bytes) -> None:
    """Only the lab's user may read it: it may hold a key."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
