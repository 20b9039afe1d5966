"""`fairway verify` proves what is so, and finds, shrinks and reproduces what is not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from fairway.agent.dataplane import Applied, Dataplane, IptablesDataplane, NftDataplane
from fairway.api.codec import decode_cluster
from fairway.api.types import Key, Object
from fairway.base.addresses import Family
from fairway.cli.verify import verify
from fairway.cluster.verify.jobs import Job, cluster_jobs, packet_job, random_jobs
from fairway.cluster.verify.report import Found, Report, report_json, text_lines
from fairway.cluster.verify.reproduce import command, manifest, reproduce, run_job, run_jobs
from fairway.cluster.verify.wire import PATIENCE_S
from fairway.dataplane.ipt.backend import Variant
from fairway.flow.trace import Disposition
from fairway.plan.assembly import Assembly
from fairway.plan.evaluate import Evaluator
from fairway.plan.options import Mode, NodeView, parse_options
from tests.kernel.cluster import NODE, NODE_ADDRESS, OBJECTS
from tests.waiting import until

pytestmark = pytest.mark.kernel

CLUSTERS = range(12)
FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)

CLUSTER: tuple[Object, ...] = (
    {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"a": "label"}},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}]},
    },
    *OBJECTS,
)


class Harmed:
    """The agent's own data plane, in whose kernel somebody then runs a command."""

    quick = told = False

    def __init__(self, inner: Dataplane, harm: Sequence[str]) -> None:
        self._inner = inner
        self._harm = harm

    def apply(self, assembly: Assembly, changed: frozenset[Key] | None) -> Applied:
        applied = self._inner.apply(assembly, changed)
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        # Where the rules are not there there is nothing to harm.
        subprocess.run(self._harm, check=False, env=environment, stderr=subprocess.DEVNULL)
        return applied

    def fileno(self) -> int | None:
        return None

    def tampering(self) -> Sequence[str]:
        return ()

    def sysctls(self, view: NodeView) -> Mapping[str, str]:
        return self._inner.sysctls(view)

    def remove_others(self) -> None:
        """There are none."""

    def close(self) -> None:
        self._inner.close()


HARMED: Mapping[Mode, Callable[[Family], Dataplane]] = {
    Mode.NFTABLES: lambda _: Harmed(NftDataplane(), ["nft", "delete element ip fairway nodeports { tcp . 30001 }"]),
    Mode.IPTABLES: lambda _: Harmed(
        IptablesDataplane(Variant.NFT), ["iptables-nft", "-t", "nat", "-F", "KUBE-MARK-MASQ"]
    ),
}


def cluster_job(mode: Mode) -> Job:
    options = parse_options(cluster_cidrs=["10.10.0.0/16"], masquerade_all=True, mode=mode)
    (job,) = cluster_jobs(CLUSTER, decode_cluster(CLUSTER), [options])
    return job


@FAMILIES
@pytest.mark.parametrize(
    ("mode", "variant"),
    [(Mode.NFTABLES, Variant.AUTO), (Mode.IPTABLES, Variant.NFT), (Mode.IPTABLES, Variant.LEGACY)],
    ids=["nftables", "iptables-nft", "iptables-legacy"],
)
def test_generated_clusters_are_as_evaluate_says(mode: Mode, variant: Variant, family: Family) -> None:
    planes: Mapping[Mode, Callable[[Family], Dataplane]] = {
        Mode.NFTABLES: NftDataplane,
        Mode.IPTABLES: lambda family: IptablesDataplane(variant, family),
    }
    report = Report(clusters=len(CLUSTERS))
    said: Counter[Disposition] = Counter()
    jobs = chain.from_iterable(random_jobs(seed, [mode], [family]) for seed in CLUSTERS)
    for job, findings in run_jobs(jobs, planes):
        evaluator = Evaluator(job.assembly.plan())
        said.update(evaluator.evaluate(probe.packet).disposition for probe in job.probes)
        report.found += report.add(job, findings)
    assert list(text_lines(report))[-1:] == [report.summary]
    assert report.found == [], "\n".join(text_lines(report))
    # So that it is no proof of nothing.
    assert said[Disposition.DROP] > 0
    for fate in (Disposition.DNAT, Disposition.REJECT, Disposition.NONE):
        assert said[fate] >= 4 * len(CLUSTERS), said


@pytest.mark.parametrize("mode", Mode)
def test_a_cluster_is_proven_by_its_matrix(mode: Mode) -> None:
    job = cluster_job(mode)
    findings = run_job(job)
    assert findings.differences == ()
    assert findings.packets >= len(job.probes)
    labels = {probe.label for probe in job.probes}
    assert f"a pod on {NODE} -> ClusterIP 10.200.1.1:80/tcp" in labels
    assert f"outside -> {NODE}:30001/tcp" in labels
    assert f"outside -> {NODE_ADDRESS}:7/udp" in labels


@pytest.mark.parametrize("mode", Mode)
def test_a_defect_of_the_rules_is_found_shrunk_and_told_with_the_way_back(mode: Mode) -> None:
    """An element that is gone from a map; a chain that marks for masquerading no more."""
    job = cluster_job(mode)
    findings = run_job(job, HARMED)
    assert findings.differences
    difference = findings.differences[0]

    found = Found(job=job, difference=difference, reproduction=reproduce(job, difference, HARMED))

    again = found.reproduction
    assert again is not None
    assert again.alone
    assert sorted(obj["kind"] for obj in again.objects) == ["EndpointSlice", "Node", "Service"]
    kept = {obj["kind"]: obj for obj in again.objects}
    assert len(kept["EndpointSlice"]["endpoints"]) == 1
    assert "labels" not in kept["Node"]["metadata"]
    assert "loadBalancerSourceRanges" not in kept["Service"]["spec"]
    assert again.options.cluster_cidrs == ()

    text = "\n".join(text_lines(Report(found=[found])))
    assert f"{NODE}, {mode.value}, IPv4: {difference.probe.label}" in text
    assert "  explained  DNAT to " in text
    assert f"  seen       {difference.seen}" in text
    assert manifest(again).strip() in text
    (told,) = report_json(Report(found=[found]))["differences"]
    assert told["objects"] == list(again.objects)

    # The very documents and options again: with the defect it shows, without it does not.
    objects = tuple(yaml.safe_load_all(manifest(again)))
    once = packet_job(objects, decode_cluster(objects), again.options, node=NODE, probe=difference.probe)
    assert run_job(once, HARMED).differences
    assert run_job(once).differences == ()


def arguments_of(found: Found) -> list[str]:
    assert found.reproduction is not None
    return command(found.reproduction, found.job.node, found.difference.probe.packet, "-")


def test_the_command_sends_the_packet_again() -> None:
    """Here it finds nothing, as the data plane of the command is not harmed."""
    job = cluster_job(Mode.NFTABLES)
    difference = run_job(job, HARMED).differences[0]
    found = Found(job=job, difference=difference, reproduction=reproduce(job, difference, HARMED))
    assert found.reproduction is not None

    verb, *arguments = arguments_of(found)
    result = CliRunner().invoke(verify, [*arguments, "-o", "json"], input=manifest(found.reproduction))

    assert verb == "verify"
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    assert (told["nodes"], told["modes"], told["families"]) == ([NODE], ["nftables"], ["IPv4"])
    assert told["packets"] >= 1


def test_the_command_proves_files_of_objects(tmp_path: Path) -> None:
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(CLUSTER))
    result = CliRunner().invoke(verify, ["-f", str(file), "svc/sticky", "--cluster-cidr", "10.10.0.0/16"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 node, 2 modes, IPv4: ")
    assert result.stdout.endswith(" packets, all as explained\n")


def test_interrupted_it_leaves_nobody() -> None:
    """Its children are gone with it, and so are all their namespaces."""
    program = "import sys; from fairway.cli.main import main; sys.exit(main())"
    verifying = subprocess.Popen(
        [sys.executable, "-c", program, "verify", "--random", "100000", "--mode", "nftables"],
        stderr=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{verifying.pid}/task/{verifying.pid}/children")
    asyncio.run(until(lambda: bool(children.read_text().split())))
    begun = children.read_text().split()

    verifying.send_signal(signal.SIGINT)
    _, said = verifying.communicate(timeout=PATIENCE_S)

    assert (verifying.returncode, said) == (130, "fairway: interrupted\n")
    assert not any(Path("/proc", pid).exists() for pid in begun)


def test_clusters_are_generated_by_command() -> None:
    result = CliRunner().invoke(verify, ["--random", "2", "--seed", "7", "--mode", "nftables", "-o", "json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["clusters"], told["families"], told["differences"]) == (2, ["IPv4", "IPv6"], [])
