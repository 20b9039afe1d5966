"""The program: the agent with what it opens, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import ExitStack
from dataclasses import replace

from fairway.agent.agent import Agent
from fairway.agent.dataplane import Dataplane, IptablesDataplane, NftDataplane
from fairway.agent.leftovers import remove_all
from fairway.agent.options import AgentConfig
from fairway.base.addresses import Family
from fairway.base.errors import FairwayError, Unsupported
from fairway.plan.options import Mode
from fairway.watch.client import Client
from fairway.watch.kubeconfig import Credentials, load_in_cluster, load_kubeconfig

_log = logging.getLogger(__name__)

USER_AGENT = "fairway-proxy"


def run(config: AgentConfig) -> int:
    """Be the agent until SIGTERM or SIGINT, which leave the rules in place; returns the exit status.

    What ends it otherwise (no usable kubeconfig, no iptables, no privilege) is logged as one line, and gives 1.
    """
    status = 0
    try:
        asyncio.run(_run(config))
    except* FairwayError as group:
        status = 1
        for error in _leaves(group):
            _log.critical("%s", error)
    return status


def cleanup() -> None:
    """Remove the rules an agent left in any mode; needs no API server. Raises Unsupported or Retry."""
    remove_all()


async def _run(config: AgentConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as stack:
        dataplanes = _open_dataplanes(config)
        for dataplane in dataplanes.values():
            stack.callback(dataplane.close)
        async with Client(_credentials(config), user_agent=USER_AGENT) as client, asyncio.TaskGroup() as group:
            agent = Agent(config, client=client, dataplanes=dataplanes)
            task = group.create_task(agent.run())
            await stop.wait()
            _log.info("stopping; the rules stay")
            task.cancel()


def _open_dataplanes(config: AgentConfig) -> dict[Family, Dataplane]:
    """Of each family that this machine can serve. Raises Unsupported where it can serve none."""
    opened: dict[Family, Dataplane] = {}
    for family in config.families:
        try:
            opened[family] = _dataplane(config, family)
        except Unsupported as error:
            if family is config.families[-1] and not opened:
                raise
            _log.warning("%s is not served: %s", family.api_name, error)
    ours = [dataplane for dataplane in opened.values() if isinstance(dataplane, NftDataplane)]
    for dataplane in ours:
        dataplane.be_deaf_to([other for other in ours if other is not dataplane])
    return opened


def _dataplane(config: AgentConfig, family: Family) -> Dataplane:
    if config.options.mode is Mode.NFTABLES:
        return NftDataplane(family)
    return IptablesDataplane(config.variant, family)


def _credentials(config: AgentConfig) -> Credentials:
    if config.kubeconfig is not None:
        credentials = load_kubeconfig(config.kubeconfig)
    elif config.master:
        return Credentials(server=config.master.rstrip("/"), origin="--master")
    else:
        credentials = load_in_cluster()
    return replace(credentials, server=config.master.rstrip("/")) if config.master else credentials


def _leaves(group: BaseExceptionGroup[FairwayError]) -> list[FairwayError]:
    leaves: list[FairwayError] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
