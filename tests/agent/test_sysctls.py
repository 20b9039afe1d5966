"""Kernel settings: which are wanted, and that none is worth failing for."""

import logging

from fairway.agent.sysctls import ConntrackSettings, write_sysctls

PREFIX = "net/netfilter/nf_conntrack_"


def test_defaults_are_kube_proxys():
    assert ConntrackSettings().sysctls(8) == {
        f"{PREFIX}max": "262144",
        f"{PREFIX}tcp_timeout_established": "86400",
        f"{PREFIX}tcp_timeout_close_wait": "3600",
    }


def test_a_small_machine_has_the_minimum_and_a_large_one_the_limit():
    assert ConntrackSettings().sysctls(2)[f"{PREFIX}max"] == "131072"
    assert ConntrackSettings().sysctls(256)[f"{PREFIX}max"] == "1048576"


def test_zero_leaves_a_setting_alone():
    settings = ConntrackSettings(max_per_core=0, tcp_established_timeout_s=0, tcp_close_wait_timeout_s=0)
    assert settings.sysctls(8) == {}


def test_what_is_asked_for_is_set():
    settings = ConntrackSettings(
        max_per_core=0,
        tcp_established_timeout_s=1,
        tcp_close_wait_timeout_s=2,
        tcp_be_liberal=True,
        udp_timeout_s=3,
        udp_stream_timeout_s=4,
    )
    assert settings.sysctls(8) == {
        f"{PREFIX}tcp_timeout_established": "1",
        f"{PREFIX}tcp_timeout_close_wait": "2",
        f"{PREFIX}tcp_be_liberal": "1",
        f"{PREFIX}udp_timeout": "3",
        f"{PREFIX}udp_timeout_stream": "4",
    }


def test_only_what_differs_is_written(tmp_path):
    (tmp_path / "same").write_text("1\n")
    (tmp_path / "other").write_text("0\n")
    assert write_sysctls({"same": "1", "other": "1"}, root=tmp_path) == []
    assert ((tmp_path / "same").read_text(), (tmp_path / "other").read_text()) == ("1\n", "1")


def test_a_setting_that_is_not_there_is_logged_and_the_others_are_made(tmp_path, caplog):
    (tmp_path / "there").write_text("0\n")
    with caplog.at_level(logging.INFO):
        assert write_sysctls({"net/gone": "5", "there": "1"}, root=tmp_path) == ["net/gone"]
    assert (tmp_path / "there").read_text() == "1"
    assert [record.getMessage() for record in caplog.records] == [
        "sysctl net.gone stays as it is, not 5: No such file or directory"
    ]
