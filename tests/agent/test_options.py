"""Bind addresses and modes as flags give them."""

import pytest

from fairway.agent.listeners import BindAddress
from fairway.agent.options import AgentConfig, default_node_name, parse_bind_address, parse_mode
from fairway.base.errors import Refused
from fairway.plan.options import Mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:10256", BindAddress(host="0.0.0.0", port=10256)),
        ("127.0.0.1", BindAddress(host="127.0.0.1", port=7)),
        ("[::]:10256", BindAddress(host="::", port=10256)),
        ("[::1]", BindAddress(host="::1", port=7)),
        ("::1", BindAddress(host="::1", port=7)),
        ("", None),
    ],
)
def test_a_bind_address_is_an_address_and_perhaps_a_port(text, expected):
    assert parse_bind_address("--flag", text, default_port=7) == expected


@pytest.mark.parametrize("text", ["localhost:80", "1.2.3.4:http", "[::1", "[::1]80", ":80", "1.2.3.4:"])
def test_what_is_no_address_is_refused_by_the_flags_name(text):
    with pytest.raises(Refused) as refused:
        parse_bind_address("--metrics-bind-address", text, default_port=10249)
    assert str(refused.value) == (
        f"--metrics-bind-address: {text!r} is no IP address with a port, such as 127.0.0.1:10249"
    )


@pytest.mark.parametrize("text", ["1.2.3.4:0", "1.2.3.4:65536"])
def test_a_port_out_of_range_is_refused(text):
    with pytest.raises(Refused, match="has no port from 1 to 65535"):
        parse_bind_address("--flag", text, default_port=7)


@pytest.mark.parametrize(
    ("text", "mode"), [("", Mode.NFTABLES), ("nftables", Mode.NFTABLES), ("iptables", Mode.IPTABLES)]
)
def test_nftables_is_the_mode_unless_iptables_is_asked_for(text, mode):
    assert parse_mode("--proxy-mode", text) is mode


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("ipvs", "--proxy-mode: mode 'ipvs' is not available; the modes there are: nftables and iptables"),
        ("magic", "--proxy-mode: mode 'magic' is not available; the modes there are: nftables and iptables"),
    ],
)
def test_another_mode_is_refused_in_one_line(mode, message):
    with pytest.raises(Refused) as refused:
        parse_mode("--proxy-mode", mode)
    assert str(refused.value) == message


def test_the_node_is_called_as_the_host_in_lower_case(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: " Worker-1 ")
    assert default_node_name() == "worker-1"


def test_defaults_are_kube_proxys():
    config = AgentConfig(node_name="n")
    assert (str(config.healthz), str(config.metrics)) == ("0.0.0.0:10256", "127.0.0.1:10249")
    assert (config.sync_period_s, config.node_wait_s, config.hard_fail) == (30.0, 30.0, False)
