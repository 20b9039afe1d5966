"""The /etc/hosts and /etc/resolv.conf of a pod, as the kubelet writes them.

Sources: `pkg/kubelet/kubelet_pods.go` (managedHostsFileContent), `pkg/kubelet/network/dns`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairway.kubelet.pod import PodSpec

MAX_SEARCHES = 32
MAX_NAMESERVERS = 3
"""Limits of the API's validation (`pkg/apis/core/validation`: MaxDNSSearchPaths, MaxDNSNameservers)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDns:
    """What pods of this cluster resolve names with; no nameservers when the cluster has no DNS service."""

    domain: str = "cluster.local"
    nameservers: tuple[str, ...] = ()


def hosts_file(pod: PodSpec, pod_ips: Iterable[str], *, domain: str) -> str:
    """The pod's own name, localhost, and the aliases of its spec."""
    names = [pod.hostname]
    if pod.subdomain:
        names.insert(0, f"{pod.hostname}.{pod.subdomain}.{pod.key.namespace}.svc.{domain}")
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        *(f"{pod_ip}\t" + "\t".join(names) for pod_ip in pod_ips),
    ]
    return "\n".join([*lines, *_aliases(pod)]) + "\n"


def node_hosts_file(pod: PodSpec, node_hosts: str) -> str:
    """/etc/hosts of a pod on the node's network: the node's own, with the pod's aliases."""
    lines = ["# Kubernetes-managed hosts file (host network).", *node_hosts.splitlines()]
    return "\n".join([*lines, *_aliases(pod)]) + "\n"


def _aliases(pod: PodSpec) -> list[str]:
    if not pod.host_aliases:
        return []
    lines = [f"{alias.address}\t" + "\t".join(alias.names) for alias in pod.host_aliases]
    return ["", "# Entries added by HostAliases.", *lines]


def resolv_conf(pod: PodSpec, cluster: ClusterDns, node_resolv_conf: str) -> str:
    """For dnsPolicy ClusterFirst the cluster's names, for Default the node's file, for None only dnsConfig.

    A pod on its node's network has the node's file for ClusterFirst, too: it has to ask for ClusterFirstWithHostNet
    (`getPodDNSType`).
    """
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    policy = pod.dns.policy
    if policy == "ClusterFirst" and pod.host_network:
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        nameservers += cluster.nameservers
        namespace_domain = f"{pod.key.namespace}.svc.{cluster.domain}"
        searches += [namespace_domain, f"svc.{cluster.domain}", cluster.domain]
        options.append("ndots:5")
    elif policy == "Default":
        nameservers, searches, options = _parse(node_resolv_conf)
    nameservers += pod.dns.nameservers
    searches += pod.dns.searches
    options = list(_merged_options(options, pod.dns.options))
    lines = [f"nameserver {server}" for server in dict.fromkeys(nameservers[:MAX_NAMESERVERS])]
    if searches:
        lines.insert(0, "search " + " ".join(dict.fromkeys(searches[:MAX_SEARCHES])))
    if options:
        lines.append("options " + " ".join(options))
    return "".join(f"{line}\n" for line in lines)


def _merged_options(first: Iterable[str], second: Iterable[str]) -> Iterable[str]:
    """dnsConfig's options win over those of the policy, by name."""
    by_name = {option.split(":")[0]: option for option in first}
    by_name |= {option.split(":")[0]: option for option in second}
    return by_name.values()


def _parse(text: str) -> tuple[list[str], list[str], list[str]]:
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver":
            nameservers += rest[:1]
        elif word == "search":
            searches = rest
        elif word == "options":
            options += rest
    return nameservers, searches, options
