"""A strategy per kind: defaults, validation, what may not change. Pure."""

from __future__ import annotations

from fairway.api.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    IP_ADDRESSES,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    PRIORITY_CLASSES,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICE_CIDRS,
    SERVICES,
    Resource,
)
from fairway.apiserver.kinds.cluster import EventStrategy, LeaseStrategy, NamespaceStrategy, NodeStrategy
from fairway.apiserver.kinds.cluster_address import IPAddressStrategy, ServiceCIDRStrategy
from fairway.apiserver.kinds.configuration import ConfigMapStrategy, SecretStrategy, ServiceAccountStrategy
from fairway.apiserver.kinds.endpoints import EndpointSliceStrategy, EndpointsStrategy
from fairway.apiserver.kinds.pod import PodStrategy
from fairway.apiserver.kinds.priority_class import PriorityClassStrategy
from fairway.apiserver.kinds.service import ServiceStrategy
from fairway.apiserver.kinds.workload import (
    ControllerRevisionStrategy,
    DaemonSetStrategy,
    DeploymentStrategy,
    ReplicaSetStrategy,
)
from fairway.apiserver.strategy import Strategy

_STRATEGIES: dict[Resource, Strategy] = {
    resource: strategy(resource)
    for resource, strategy in (
        (NAMESPACES, NamespaceStrategy),
        (NODES, NodeStrategy),
        (PODS, PodStrategy),
        (SERVICES, ServiceStrategy),
        (ENDPOINTS, EndpointsStrategy),
        (CONFIG_MAPS, ConfigMapStrategy),
        (SECRETS, SecretStrategy),
        (SERVICE_ACCOUNTS, ServiceAccountStrategy),
        (EVENTS, EventStrategy),
        (CONTROLLER_REVISIONS, ControllerRevisionStrategy),
        (DAEMON_SETS, DaemonSetStrategy),
        (DEPLOYMENTS, DeploymentStrategy),
        (REPLICA_SETS, ReplicaSetStrategy),
        (ENDPOINT_SLICES, EndpointSliceStrategy),
        (LEASES, LeaseStrategy),
        (PRIORITY_CLASSES, PriorityClassStrategy),
        (IP_ADDRESSES, IPAddressStrategy),
        (SERVICE_CIDRS, ServiceCIDRStrategy),
    )
}


def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a resource of the table. Raises KeyError for any other."""
    return _STRATEGIES[resource]
