"""The data plane in dicts: chance, and what session affinity remembers."""

from __future__ import annotations

from collections import Counter
from random import Random

from fairway.dataplane.memory import MemoryDataPlane
from fairway.flow.trace import Disposition
from fairway.plan.evaluate import evaluate
from fairway.plan.model import Plan
from tests.plan.objects import (
    CLIENT,
    CLUSTER_IP,
    HERE,
    LOCAL_AND_REMOTE,
    NODE_ADDRESS,
    NODE_PORT,
    THERE,
    endpoint,
    endpoint_slice,
    every_door,
    packet,
    plan_of,
    service,
)

THREE = endpoint_slice(endpoint("10.10.1.3", HERE), endpoint("10.10.2.3", THERE), endpoint("10.10.3.4", "elsewhere"))
STICKY = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
TO_NODE_PORT = packet(CLIENT, NODE_ADDRESS, NODE_PORT)


def plane_of(plan: Plan, seed: int = 1) -> MemoryDataPlane:
    return MemoryDataPlane(plan, random=Random(seed))


def met(plane: MemoryDataPlane, sent=TO_NODE_PORT, *, now: float = 0.0) -> str:
    return str(plane.send(sent, now=now).backend)


def test_a_delivery_is_what_evaluate_says_and_one_of_its_backends():
    plan = plan_of(every_door(), THREE)
    delivery = plane_of(plan).send(TO_NODE_PORT, now=0.0)
    assert delivery.trace == evaluate(plan, TO_NODE_PORT)
    assert delivery.backend in delivery.trace.candidates


def test_what_is_refused_reaches_no_backend():
    delivery = plane_of(plan_of(every_door())).send(TO_NODE_PORT, now=0.0)
    assert (delivery.trace.disposition, delivery.backend) == (Disposition.REJECT, None)
    nowhere = plane_of(plan_of([])).send(TO_NODE_PORT, now=0.0)
    assert (nowhere.trace.disposition, nowhere.backend) == (Disposition.NONE, None)


def test_without_affinity_each_connection_chooses_anew():
    plane = plane_of(plan_of(every_door(), THREE))
    counts = Counter(met(plane) for _ in range(3000))
    assert set(counts) == {"10.10.1.3:8080", "10.10.2.3:8080", "10.10.3.4:8080"}
    # 3000 draws with p = 1/3: six standard deviations are 155, and the seed is fixed
    assert all(abs(count - 1000) < 155 for count in counts.values())


def test_the_same_seed_makes_the_same_choices():
    plan = plan_of(every_door(), THREE)
    first, second = plane_of(plan, 7), plane_of(plan, 7)
    assert [met(first) for _ in range(20)] == [met(second) for _ in range(20)]


def test_affinity_keeps_a_client_until_the_timeout_after_its_last_connection():
    plane = plane_of(plan_of(every_door(**STICKY), THREE))
    first = met(plane, now=0.0)
    assert {met(plane, now=float(now)) for now in range(0, 600, 60)} == {first}
    seen = {met(plane_of(plan_of(every_door(**STICKY), THREE), seed), now=0.0) for seed in range(20)}
    assert len(seen) == 3
    later = [met(plane, now=540.0 + 61.0 * n) for n in range(1, 60)]
    assert len(set(later)) == 3


def test_clients_are_remembered_each_for_himself():
    plane = plane_of(plan_of(every_door(**STICKY), THREE))
    clients = [f"203.0.113.{n}" for n in range(40)]
    first = {client: met(plane, packet(client, NODE_ADDRESS, NODE_PORT)) for client in clients}
    assert {client: met(plane, packet(client, NODE_ADDRESS, NODE_PORT)) for client in clients} == first
    assert len(set(first.values())) == 3


def test_all_doors_of_a_service_port_share_their_memory():
    plane = plane_of(plan_of(every_door(**STICKY), THREE))
    first = met(plane)
    assert {met(plane, packet(CLIENT, CLUSTER_IP, 80)) for _ in range(20)} == {first}


def test_ports_of_a_service_do_not_share_their_memory():
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    slice_ports = [{"name": "a", "port": 8080}, {"name": "b", "port": 8081}]
    plan = plan_of(
        service(ports=ports, **STICKY), endpoint_slice(endpoint("10.10.1.3"), endpoint("10.10.2.3"), ports=slice_ports)
    )
    pairs = set()
    for seed in range(40):
        plane = plane_of(plan, seed)
        hosts = [met(plane, packet(CLIENT, CLUSTER_IP, port)).partition(":")[0] for port in (80, 81)]
        pairs.add(tuple(hosts))
    assert len(pairs) == 4


def test_a_backend_that_is_gone_is_forgotten_even_if_it_comes_back():
    everything = plan_of(every_door(**STICKY), THREE)
    outcomes = set()
    for seed in range(40):
        plane = plane_of(everything, seed)
        first = met(plane)
        others = [each for each in ("10.10.1.3", "10.10.2.3", "10.10.3.4") if not first.startswith(f"{each}:")]
        plane.apply(plan_of(every_door(**STICKY), endpoint_slice(*(endpoint(each) for each in others))))
        plane.apply(everything)
        assert plane.plan == everything
        outcomes.add(met(plane) == first)
    assert outcomes == {True, False}


def test_a_change_elsewhere_leaves_affinity_alone():
    plane = plane_of(plan_of(every_door(**STICKY), THREE))
    first = met(plane)
    other = service("other", clusterIP="10.200.1.9")
    plane.apply(plan_of([every_door(**STICKY), other], THREE))
    assert {met(plane) for _ in range(20)} == {first}


def test_a_remembered_backend_is_not_forced_on_a_door_that_may_not_use_it():
    plan = plan_of(every_door(externalTrafficPolicy="Local", **STICKY), LOCAL_AND_REMOTE)
    planes = [plane_of(plan, seed) for seed in range(20)]
    at_cluster_ip = packet(CLIENT, CLUSTER_IP, 80)
    remote_first = [plane for plane in planes if met(plane, at_cluster_ip, now=0.0) == "10.10.2.3:8080"]
    assert remote_first
    assert {met(plane, TO_NODE_PORT, now=1.0) for plane in remote_first} == {"10.10.1.3:8080"}
