"""The lab's certificates are what Kubernetes reads identities from, and what TLS accepts."""

import base64
from datetime import UTC, datetime

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fairway.cluster.pki import Authority, kubeconfig

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_client_certificate_names_user_and_groups_and_is_signed_by_the_authority() -> None:
    authority = Authority.create("lab-ca", now=NOW)
    certificate = x509.load_pem_x509_certificate(
        authority.issue_client("admin", "system:masters", "people").certificate
    )
    ca = x509.load_pem_x509_certificate(authority.certificate)
    certificate.verify_directly_issued_by(ca)
    organisations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "admin"
    assert {attribute.value for attribute in organisations} == {"system:masters", "people"}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_certificate_is_valid_for_addresses_and_names() -> None:
    authority = Authority.create("lab-ca", now=NOW)
    pair = authority.issue_server("kube-apiserver", hosts=["127.0.0.1", "kubernetes.default"])
    names = x509.load_pem_x509_certificate(pair.certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert [str(address) for address in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert names.value.get_values_for_type(x509.DNSName) == ["kubernetes.default"]


def test_a_certificate_is_valid_from_a_little_before_it_was_made() -> None:
    pair = Authority.create("lab-ca", now=NOW).issue_client("admin")
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_a_kubeconfig_holds_everything_inline_in_its_one_context() -> None:
    authority = Authority.create("lab-ca", now=NOW)
    identity = authority.issue_client("admin")
    document = yaml.safe_load(
        kubeconfig(
            cluster="fairway-x",
            server="https://127.0.0.1:1",
            user="me",
            authority=authority.certificate,
            identity=identity,
        )
    )
    assert document["current-context"] == document["contexts"][0]["name"] == "fairway-x"
    cluster = document["clusters"][0]["cluster"]
    assert cluster["server"] == "https://127.0.0.1:1"
    assert base64.b64decode(cluster["certificate-authority-data"]) == authority.certificate
    assert base64.b64decode(document["users"][0]["user"]["client-key-data"]) == identity.key
