"""What every object has, as the agents read it (apimachinery `meta/v1/types.go`)."""

from __future__ import annotations

from msgspec import Struct, field

from fairway.api.types import Key

_ACRONYMS = {"ip": "IP", "ips": "IPs", "cidr": "CIDR", "cidrs": "CIDRs"}


def json_name(attribute: str) -> str:
    """The API's name of a field: cluster_ips is "clusterIPs", ip_mode is "ipMode"."""
    first, *rest = attribute.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class ObjectMeta(Struct, frozen=True, kw_only=True, rename=json_name):
    """Name and labels of an object; the namespace of cluster-scoped objects is "".

    creation_timestamp: set by the API server alone, so an object in a file seldom has one.
    """

    name: str
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    deletion_timestamp: str | None = None
    creation_timestamp: str | None = None

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)
