"""Kubeconfig files: what is read from them, and what each mistake in them says."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairway.base.errors import Refused
from fairway.watch.kubeconfig import load_in_cluster, load_kubeconfig
from tests.watch.authority import Authority

AUTHORITY = Authority()
ADMIN = AUTHORITY.issue("admin", organization="system:masters")
OTHER = AUTHORITY.issue("other")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def config(*, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "clusters": [{"name": "lab", "cluster": {"server": "https://127.0.0.1:6443", **(cluster or {})}}],
        "users": [{"name": "admin", "user": user or {}}],
        **more,
    }


def written(directory: Path, content: Any) -> Path:
    path = directory / "config"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_inline_certificates_make_a_context_that_verifies_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = written(
        tmp_path,
        config(
            cluster={"certificate-authority-data": encoded(AUTHORITY.certificate)},
            user={"client-certificate-data": encoded(ADMIN.certificate), "client-key-data": encoded(ADMIN.key)},
        ),
    )
    credentials = load_kubeconfig(path)
    assert credentials.server == "https://127.0.0.1:6443"
    assert credentials.namespace == "default"
    assert credentials.authorization() is None
    assert credentials.ssl_context is not None
    assert credentials.ssl_context.check_hostname
    assert [entry["subject"] for entry in credentials.ssl_context.get_ca_certs()] == [((("commonName", "test-ca"),),)]
    assert credentials.authority == AUTHORITY.certificate.decode()
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_files_are_found_beside_the_kubeconfig(tmp_path):
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    (tmp_path / "tls.crt").write_bytes(ADMIN.certificate)
    (tmp_path / "tls.key").write_bytes(ADMIN.key)
    path = written(
        tmp_path,
        config(
            cluster={"certificate-authority": "ca.crt", "tls-server-name": "kubernetes"},
            user={"client-certificate": "tls.crt", "client-key": "tls.key"},
        ),
    )
    credentials = load_kubeconfig(path)
    assert credentials.ssl_context is not None
    assert credentials.server_name == "kubernetes"


def test_inline_data_wins_over_a_file(tmp_path):
    cluster = {
        "certificate-authority-data": encoded(AUTHORITY.certificate),
        "certificate-authority": str(tmp_path / "missing.crt"),
    }
    assert load_kubeconfig(written(tmp_path, config(cluster=cluster))).ssl_context is not None


def test_a_token_file_is_read_again_for_each_request(tmp_path):
    (tmp_path / "token").write_text("first\n")
    credentials = load_kubeconfig(written(tmp_path, config(user={"tokenFile": "token", "token": "stale"})))
    assert credentials.authorization() == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    assert credentials.authorization() == "Bearer second"
    (tmp_path / "token").unlink()
    with pytest.raises(Refused, match=r'context "lab": cannot read the token file .*token: No such file or directory$'):
        credentials.authorization()


def test_secrets_do_not_show_in_a_printed_credential(tmp_path):
    credentials = load_kubeconfig(written(tmp_path, config(user={"token": "hush"})))
    assert credentials.authorization() == "Bearer hush"
    assert "hush" not in repr(credentials)


def test_another_context_can_be_named_and_brings_its_namespace(tmp_path):
    contexts = [
        {"name": "lab", "context": {"cluster": "lab", "user": "admin"}},
        {"name": "plain", "context": {"cluster": "plain", "user": "admin", "namespace": "web"}},
    ]
    clusters = [{"name": "plain", "cluster": {"server": "http://127.0.0.1:8080/"}}]
    credentials = load_kubeconfig(written(tmp_path, config(contexts=contexts, clusters=clusters)), context="plain")
    assert (credentials.server, credentials.namespace) == ("http://127.0.0.1:8080", "web")
    assert credentials.ssl_context is None


def test_skipping_verification_is_possible_when_asked_for(tmp_path):
    credentials = load_kubeconfig(written(tmp_path, config(cluster={"insecure-skip-tls-verify": True})))
    assert credentials.ssl_context is not None
    assert not credentials.ssl_context.check_hostname


BAD_CA = {"certificate-authority-data": encoded(b"no certificate")}
ADMIN_DATA = {"client-certificate-data": encoded(ADMIN.certificate), "client-key-data": encoded(ADMIN.key)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "kubeconfig {path} is empty or no mapping"),
        ("a: [", "kubeconfig {path} is no YAML at line 1: "),
        (config() | {"current-context": ""}, "{path}: current-context is empty; name a context (one of lab)"),
        (
            config() | {"current-context": "prod"},
            '{path}: there is no context "prod", which current-context names (there are: lab)',
        ),
        (
            config(clusters=[]),
            '{path}: there is no cluster "lab", which {path}: context "lab" names (there are: none)',
        ),
        (config(users=[]), '{path}: there is no user "admin", which {path}: context "lab" names (there are: none)'),
        (config(contexts={"lab": {}}), "{path}: field contexts must be a list"),
        (
            config(contexts=[{"name": "lab", "context": {"user": "admin"}}]),
            '{path}: context "lab": field cluster is missing',
        ),
        (config(cluster={"server": ""}), '{path}: cluster "lab": field server is missing'),
        (config(cluster={"server": 7}), '{path}: cluster "lab": field server must be a string'),
        (
            config(cluster={"server": "127.0.0.1:6443"}),
            '{path}: cluster "lab": field server must start with https:// or http://, not be "127.0.0.1:6443"',
        ),
        (
            config(cluster={"server": "ftp://host"}),
            '{path}: cluster "lab": field server is no URL of an API server: "ftp://host"',
        ),
        (
            config(cluster={"proxy-url": "http://proxy"}),
            '{path}: cluster "lab": field proxy-url is not supported; reach the server directly',
        ),
        (
            config(cluster={"certificate-authority-data": "%%%"}),
            '{path}: cluster "lab": field certificate-authority-data is no base64: ',
        ),
        (config(cluster=BAD_CA), '{path}: cluster "lab": field certificate-authority is no PEM certificate: '),
        (
            config(cluster={"certificate-authority": "gone"}),
            '{path}: cluster "lab": field certificate-authority: cannot read {dir}/gone: No such file or directory',
        ),
        (
            config(cluster={"insecure-skip-tls-verify": "yes"}),
            '{path}: cluster "lab": field insecure-skip-tls-verify must be true or false',
        ),
        (
            config(cluster={"insecure-skip-tls-verify": True, **BAD_CA}),
            '{path}: cluster "lab": insecure-skip-tls-verify and certificate-authority exclude each other',
        ),
        (
            config(user={"exec": {"command": "aws"}}),
            '{path}: user "admin": field exec is not supported; use a client certificate, token or tokenFile',
        ),
        (
            config(user={"client-certificate-data": ADMIN_DATA["client-certificate-data"]}),
            '{path}: user "admin": client-certificate needs client-key',
        ),
        (
            config(user={"client-key-data": ADMIN_DATA["client-key-data"]}),
            '{path}: user "admin": client-key needs client-certificate',
        ),
        (
            config(user={**ADMIN_DATA, "client-key-data": encoded(OTHER.key)}),
            '{path}: user "admin": client-certificate and client-key are no usable pair: ',
        ),
    ],
)
def test_a_mistake_is_refused_with_file_entry_and_field(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(Refused) as refused:
        load_kubeconfig(path)
    expected = message.format(path=path, dir=tmp_path)
    text = str(refused.value)
    assert text.startswith(expected) if expected.endswith(" ") else text == expected


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Refused) as refused:
        load_kubeconfig(tmp_path / "nowhere")
    assert str(refused.value) == f"cannot read kubeconfig {tmp_path}/nowhere: No such file or directory"


def test_a_pod_finds_its_service_account(tmp_path):
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    (tmp_path / "token").write_text("abc")
    (tmp_path / "namespace").write_text("kube-system\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    credentials = load_in_cluster(environ, directory=tmp_path)
    assert credentials.server == "https://[fd00::1]:443"
    assert credentials.namespace == "kube-system"
    assert credentials.authorization() == "Bearer abc"
    assert credentials.authority == AUTHORITY.certificate.decode()


def test_outside_of_a_cluster_the_way_out_is_a_kubeconfig(tmp_path):
    with pytest.raises(Refused, match=r"not in a cluster: KUBERNETES_SERVICE_HOST .* name a kubeconfig file"):
        load_in_cluster({}, directory=tmp_path)
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(Refused, match="token is missing; name a kubeconfig file"):
        load_in_cluster(environ, directory=tmp_path)
