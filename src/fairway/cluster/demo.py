"""The demo: a fresh lab, the study walked on it, and the lab taken down again."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fairway.base.errors import FairwayError
from fairway.cluster.hosts import LabHosts
from fairway.cluster.lab import bring_up, take_down
from fairway.cluster.labs import study_lab
from fairway.cluster.scenario import Scenario
from fairway.cluster.state import LabState
from fairway.cluster.walk.kubectl import Kubectl
from fairway.cluster.walk.language import Language
from fairway.cluster.walk.picture import Way
from fairway.cluster.walk.stage import Claim, KubectlLike, Shown, Stage
from fairway.cluster.walk.standin import StandIn
from fairway.cluster.walk.study import trace_a_call, walk_study
from fairway.plan.options import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A walk that is over. way: None where the last call could not be followed."""

    claims: Sequence[Claim]
    way: Way | None

    @property
    def held(self) -> bool:
        return bool(self.claims) and all(claim.ok for claim in self.claims)


def run_demo(
    name: str,
    *,
    mode: Mode = Mode.NFTABLES,
    dual_stack: bool = False,
    language: Language = Language.ENGLISH,
    keep: bool,
    show: Callable[[Shown], None],
    say: Callable[[str], None],
) -> Finished:
    """Bring up a fresh lab of that name, walk the study on it and take it down, also when interrupted.

    Raises Refused if a lab of that name is up. mode: what its nodes' rules are written with. dual_stack: walk it over
    IPv6 too. language: of what is shown and said, and of the claims. keep: leave the lab up.
    show, say: what is worth printing, as it comes.
    """
    state = LabState.of(name)
    scenario = study_lab(dual_stack=dual_stack).in_mode(mode)
    record = bring_up(state, scenario, report=lambda line: say(language.retell(line)))
    try:
        say(_is_up(language, name, mode, record.api, dual_stack=dual_stack))
        say(f"[cyan]$ export FAIRWAY_LAB={name} KUBECONFIG=$(fairway kubeconfig --name {name})[/]")
        return asyncio.run(_walk(state, scenario, language, show, say))
    finally:
        if keep:
            say(language.tell("lab {name!r} stays up; take it down with: fairway down --name {name}", name=name))
        else:
            take_down(state)


def _is_up(language: Language, name: str, mode: Mode, api: str, *, dual_stack: bool) -> str:
    if dual_stack:
        return language.tell(
            "lab {name!r} is up in proxy mode {mode} with IPv4 and IPv6; the API server listens on {api}",
            name=name,
            mode=mode,
            api=api,
        )
    return language.tell(
        "lab {name!r} is up in proxy mode {mode}; the API server listens on {api}", name=name, mode=mode, api=api
    )


def find_kubectl() -> str | None:
    """The kubectl to use: $KUBECTL, else the one on PATH, else None."""
    return os.environ.get("KUBECTL") or shutil.which("kubectl")


async def _walk(
    state: LabState,
    scenario: Scenario,
    language: Language,
    show: Callable[[Shown], None],
    say: Callable[[str], None],
) -> Finished:
    async with LabHosts.connect(state) as hosts, lab_kubectl(state, say, language=language) as kubectl_like:
        stage = Stage(scenario=scenario, hosts=hosts, kubectl_like=kubectl_like, show=show, language=language)
        claims = await walk_study(stage, still_there=state.living)
        try:
            way = await trace_a_call(stage)
        except (FairwayError, LookupError):
            way = None
        return Finished(claims=tuple(claims), way=way)


@asynccontextmanager
async def lab_kubectl(
    state: LabState, say: Callable[[str], None], *, language: Language = Language.ENGLISH
) -> AsyncIterator[KubectlLike]:
    """The machine's kubectl for a lab, or what makes the same requests. language: of what is said then."""
    if program := find_kubectl():
        yield Kubectl(program, kubeconfig=state.kubeconfig, cache=state.folder / "kubectl-cache")
        return
    say(language.tell("there is no kubectl on PATH: the same requests are made without it"))
    async with StandIn(state.credentials()) as stand_in:
        yield stand_in
