"""Each part of the cluster gets an identity of its own, in files nobody else can read."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from fairway.cluster import credentials
from fairway.cluster.labs import STUDY_LAB
from fairway.cluster.state import LabState


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabState:
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path / "state"))
    state = LabState.of("x")
    state.create()
    credentials.write_all(state, STUDY_LAB, api="https://127.0.0.1:7777", now=datetime.now(UTC))
    return state


def test_people_reach_the_api_on_loopback_and_the_parts_reach_it_in_the_lab(state: LabState) -> None:
    def server(path: Path) -> str:
        return str(yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"])

    assert server(state.kubeconfig) == "https://127.0.0.1:7777"
    for component in ("kube-proxy", "controller-manager", "dns", "kubelet-myk8s-worker"):
        assert server(credentials.component_kubeconfig(state, component)) == "https://172.18.0.3:6443"


def test_the_api_server_is_valid_under_all_it_is_called_by(state: LabState) -> None:
    certificate = x509.load_pem_x509_certificate(credentials.certificate_paths(state, "apiserver")[0].read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "172.18.0.3", "10.200.1.1"}
    assert "kubernetes.default.svc.cluster.local" in names.get_values_for_type(x509.DNSName)


def test_keys_fit_their_certificates_and_are_readable_by_their_user_only(state: LabState) -> None:
    for name in ("apiserver", "apiserver-kubelet-client", "kubelet-myk8s-worker3"):
        certificate, key = credentials.certificate_paths(state, name)
        ssl.create_default_context().load_cert_chain(certificate, key)
    assert {path.stat().st_mode & 0o777 for path in (state.kubeconfig, *state.pki.iterdir())} == {0o600}


def test_the_authoritys_own_key_is_kept_nowhere(state: LabState) -> None:
    assert not (state.pki / "ca.key").exists()
