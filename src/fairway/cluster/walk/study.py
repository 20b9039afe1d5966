"""The study in its order, and the picture at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fairway.cluster.walk import rows_endpoints, rows_nftables, rows_policy, rows_rules, rows_service
from fairway.cluster.walk.picture import Way
from fairway.cluster.walk.stage import Claim, Stage
from fairway.plan.options import Mode

PICTURED_PORT = 41002
"""The client's port of the call that is drawn; another than S8's, whose connection is still tracked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the study: what it does, and what must be true.

    sends: whether packets are what it is about, so that a dual-stack lab walks it over each family. second: what is
    walked over a second family, where that is less.
    """

    id: str
    title: str
    claim: str
    walk: Callable[[Stage], Awaitable[None]]
    sends: bool = True
    second: Callable[[Stage], Awaitable[None]] | None = None


async def _readiness_and_slices(stage: Stage) -> None:
    await rows_endpoints.readiness(stage)
    await rows_endpoints.slices(stage)


CHAIN_BY_CHAIN = {
    Mode.NFTABLES: Row(
        id="S7",
        title="fairway rules, and the kernel's own trace of one packet",
        claim="nat-prerouting leads by services, dispatch and the node port's class to one endpoint of three, a third"
        " each, and to DNAT and MASQUERADE",
        walk=rows_nftables.chain_by_chain,
    ),
    Mode.IPTABLES: Row(
        id="S7",
        title="iptables -t nat -S, with counters",
        claim="PREROUTING leads by KUBE-NODEPORTS, EXT, SVC and SEP to DNAT and MASQUERADE, by the study's very names",
        walk=rows_rules.chain_by_chain,
    ),
}
"""The row that each mode has in its own words."""

ROWS = (
    Row(
        id="S1",
        title="kubectl apply, with an unmodified kubectl",
        claim="the Deployment and the Service are created; a second apply says unchanged",
        walk=rows_service.apply,
        sends=False,
    ),
    Row(
        id="S2",
        title="kubectl get, with the study's columns",
        claim="one replica runs on each worker, on the study's nodes and addresses",
        walk=rows_service.look,
        sends=False,
    ),
    Row(
        id="S3",
        title="the echo server",
        claim="it answers any request with JSON that tells the request, the host asked, the peer seen and the pod",
        walk=rows_service.echo,
    ),
    Row(
        id="S4",
        title="ss -tlnp on every node",
        claim="nothing listens on the node port: the kernel's rules do it",
        walk=rows_service.nothing_listens,
        sends=False,
    ),
    Row(
        id="S5",
        title="mypc calls NODE:NODEPORT for all four nodes",
        claim="all answer, also the one without a pod",
        walk=rows_service.every_node_answers,
    ),
    Row(
        id="S6",
        title="a loop of calls",
        claim="they are spread over the three pods at random, about a third each",
        walk=rows_service.spread,
    ),
    CHAIN_BY_CHAIN[Mode.NFTABLES],
    Row(
        id="S8",
        title="DNAT and SNAT on the way in, and the way back",
        claim="conntrack holds both translations, and the pod sees the node it was entered by",
        walk=rows_rules.there_and_back,
    ),
    Row(
        id="S9",
        title="sessionAffinity: ClientIP",
        claim="every call of one client meets one pod, until the timeout; another client may meet another",
        walk=rows_policy.affinity,
    ),
    Row(
        id="S10",
        title="externalTrafficPolicy: Local",
        claim="nodes with a pod answer with it and it sees the client; a node with none does not answer",
        walk=rows_policy.local_policy,
    ),
    Row(
        id="S11",
        title="what NodePort lacks: type LoadBalancer",
        claim="one address, only on a node with a ready pod, as health checks tell; the client's address is kept",
        walk=rows_policy.load_balancer,
    ),
    Row(
        id="S12",
        title="readiness probes, Endpoints and EndpointSlices",
        claim="a failing pod leaves every node's rules and comes back; a change sends one slice of at most 100",
        walk=_readiness_and_slices,
        second=rows_endpoints.readiness,
    ),
    Row(
        id="S13",
        title="the ClusterIP path",
        claim="pods reach the Service by its ClusterIP:9000 from every node",
        walk=rows_endpoints.cluster_ip,
    ),
)


SECOND_FAMILY = Row(
    id="S1",
    title="kubectl patch svc: ipFamilyPolicy PreferDualStack",
    claim="the Service keeps its address and node port, gets an IPv6 address beside, and a slice for each family",
    walk=rows_service.both_families,
    sends=False,
)
"""Of a dual-stack lab, after the study's objects are there."""


def rows(mode: Mode) -> tuple[Row, ...]:
    """The rows of a lab in this mode."""
    return tuple(CHAIN_BY_CHAIN[mode] if row.id == "S7" else row for row in ROWS)


async def walk_study(stage: Stage, *, still_there: Callable[[], object]) -> list[Claim]:
    """Walk S1 to S13; the claims, in order. In a dual-stack lab each row with packets is walked over each family.

    still_there: called before each row; raises where the lab has ended, since no row can say more than that.
    """
    families = stage.scenario.families
    for row in rows(stage.scenario.mode):
        for index, family in enumerate(families if row.sends else families[:1]):
            still_there()
            stage.family = family
            over = family.api_name if row.sends and len(families) > 1 else ""
            walk = row.second if index and row.second is not None else row.walk
            await stage.row(row.id, row.title, row.claim, walk, over=over)
        if row.id == SECOND_FAMILY.id and len(families) > 1:
            still_there()
            await stage.row(SECOND_FAMILY.id, SECOND_FAMILY.title, SECOND_FAMILY.claim, SECOND_FAMILY.walk)
    stage.family = families[0]
    return stage.claims


async def trace_a_call(stage: Stage) -> Way:
    """Make one more call through a node without a pod and read its way from conntrack."""
    entered = stage.scenario.control_plane
    address = stage.node_addresses[entered]
    told = await rows_service.call(stage, address, local_port=PICTURED_PORT) or {}
    connection = await rows_rules.tracked(stage, entered, local_port=PICTURED_PORT)
    return Way(
        client=stage.scenario.client,
        entered=entered,
        pod=told["os"]["hostname"],
        pod_node=await rows_rules.node_of_pod(stage, connection.reply.source),
        connection=connection,
    )
