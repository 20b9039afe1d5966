"""`fairway verify` refuses what it cannot prove before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fairway.base.errors import Refused
from fairway.cli.verify import verify

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-1"},
    "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.1"}]},
}


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "objects.yaml"
    path.write_text(yaml.safe_dump(NODE))
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--random", "0"], "0 is not in the range"),
        (["--random", "1", "-f", "x"], "--random makes its own objects"),
        (["--random", "1", "--cluster-cidr", "10.0.0.0/8"], "--random makes its own objects"),
        (["--random", "1", "svc/web"], "--random makes its own objects"),
        (["--seed", "1"], "it goes with --random"),
        (["--from", "10.0.0.1"], "--from and --to go together"),
        (["--interface", "eth0"], "it goes with --from and --to"),
        (["--mode", "ipvs"], "'ipvs' is not one of"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], why: str) -> None:
    result = CliRunner().invoke(verify, arguments)
    assert result.exit_code == 2
    assert why in result.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--node", "node-9"], "there is no Node node-9; the nodes are: node-1"),
        (["svc/web"], "there is no Service default/web; there are: none"),
        (["--node", "node-1", "--from", "10.0.0.1", "--to", "10.0.0.2"], "expected an address and a port"),
        (["--node", "node-1", "--from", "10.0.0.1", "--to", "10.0.0.2:70000"], "a port from 1 to 65535"),
        (["--node", "node-1", "--from", "10.0.0.1", "--to", "10.0.0.2:0"], "a port from 1 to 65535"),
        (["--node", "node-1", "--from", "10.0.0.1", "--to", "10.0.0.2:80/sctp"], "over tcp and udp, not sctp"),
        (["--node", "node-1", "--from", "10.0.0.1", "--to", "[fd00::1]:80"], "of two address families"),
        (["--node", "node-1", "--from", "web", "--to", "10.0.0.2:80"], "'web' is not an IP address"),
    ],
)
def test_what_is_not_there_is_refused(file: str, arguments: list[str], why: str) -> None:
    result = CliRunner().invoke(verify, ["-f", file, *arguments])
    assert isinstance(result.exception, Refused)
    assert why in str(result.exception)


def test_a_packet_or_an_address_of_a_node_wants_that_node(file: str) -> None:
    for arguments in (["--from", "10.0.0.1", "--to", "10.0.0.2:80"], ["--node-address", "10.0.0.1"]):
        result = CliRunner().invoke(verify, ["-f", file, *arguments])
        assert result.exit_code == 2
        assert "name it with --node" in result.output
