"""The kubelet's process: what it cannot start with is one clear line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fairway.kubelet.config import KubeletConfig
from fairway.kubelet.kubelet import run
from tests.kubelet.test_node import CONFIG
from tests.watch.authority import Authority


def config(directory: Path) -> KubeletConfig:
    """With certificates and a kubeconfig that can be read."""
    authority = Authority()
    pair = authority.issue("system:node:myk8s-worker", addresses=("127.0.0.1",))
    kubeconfig = {
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "node"}}],
        "clusters": [{"name": "lab", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "node", "user": {}}],
    }
    for name, text in (("ca", authority.certificate), ("crt", pair.certificate), ("key", pair.key)):
        (directory / name).write_bytes(text)
    (directory / "kubeconfig").write_text(json.dumps(kubeconfig))
    return replace(
        CONFIG,
        tls_cert=directory / "crt",
        tls_key=directory / "key",
        client_ca=directory / "ca",
        kubeconfig=directory / "kubeconfig",
        spawner=directory / "init.sock",
        log_dir=directory / "logs",
    )


def test_without_the_labs_first_process_it_says_so_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(config(tmp_path)) == 1

    (message,) = [record.getMessage() for record in caplog.records if record.name == "fairway.kubelet.kubelet"]
    assert message.startswith("kubelet of myk8s-worker: ")
    assert str(tmp_path / "init.sock") in message


def test_without_a_kubeconfig_it_names_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(replace(config(tmp_path), kubeconfig=tmp_path / "none")) == 1

    assert str(tmp_path / "none") in caplog.text


def test_without_its_certificate_it_ends(tmp_path: Path) -> None:
    assert run(replace(config(tmp_path), tls_cert=tmp_path / "none")) == 1
