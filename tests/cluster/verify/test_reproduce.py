"""The command that shows a difference again says all that the options say."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from fairway.base.addresses import Family
from fairway.cli.objects import NodeFlags, node_flags
from fairway.cluster.kubeadm import ProxySettings
from fairway.cluster.verify.draw import RandomDraw
from fairway.cluster.verify.generate import draw_case
from fairway.cluster.verify.reproduce import flags
from fairway.plan.options import Mode, Options, parse_options


def read_back(arguments: list[str], **told: Any) -> Options:
    found: list[Options] = []

    @click.command()
    @node_flags
    def verb(flags: NodeFlags) -> None:
        found.append(flags.options(ProxySettings(**told)))

    result = CliRunner().invoke(verb, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.api_name)
def test_flags_are_read_back_as_the_options_they_are_of(mode: Mode, family: Family) -> None:
    for seed in range(50):
        settings = draw_case(RandomDraw(seed)).settings
        options = parse_options(**settings, mode=mode, family=family)
        assert read_back(flags(options), localhost_node_ports=options.localhost_node_ports) == options


def test_node_ports_everywhere_are_said_in_mode_nftables() -> None:
    everywhere = Options(mode=Mode.NFTABLES)
    options = read_back(flags(everywhere))
    assert not options.primary_node_port_address
    assert [network.prefixlen for network in options.node_port_addresses] == [0, 0]
