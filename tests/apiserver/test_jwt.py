"""Tokens are what this key has signed, and nothing else."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fairway.apiserver.jwt import InvalidTokenError, SigningKey
from fairway.base.errors import Refused
from fairway.cluster.pki import new_signing_key

CLAIMS = {"sub": "me", "exp": 1}


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_what_was_signed_is_read_back() -> None:
    key = SigningKey(new_signing_key())
    for number in range(50):  # numbers of a signature may begin with zeros
        claims = {**CLAIMS, "number": number}
        assert key.verify(key.sign(claims)) == claims


def test_another_lives_key_of_the_same_file_knows_it() -> None:
    pem = new_signing_key()
    assert SigningKey(pem).verify(SigningKey(pem).sign(CLAIMS)) == CLAIMS


def test_nothing_else_is() -> None:
    key = SigningKey(new_signing_key())
    header, claims, signature = key.sign(CLAIMS).split(".")
    for token in (
        "",
        "a",
        "a.b.c",
        f"{header}.{claims}",
        f"{header}.{claims}.",
        f"{header}.{claims}.{signature[:-4]}",
        f"{header}.{claims}.{signature}.x",
        f"{header}.{encoded({**CLAIMS, 'sub': 'you'})}.{signature}",
        f"{encoded({'alg': 'none'})}.{claims}.",
        f"{encoded({'alg': 'HS256'})}.{claims}.{signature}",
        f"{encoded([])}.{claims}.{signature}",
        f"{header}.{claims}.{signature}\u00fc",
        SigningKey(new_signing_key()).sign(CLAIMS),
    ):
        with pytest.raises(InvalidTokenError):
            key.verify(token)


def test_a_key_of_another_kind_is_refused() -> None:
    def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    for given in (b"", pem(rsa.generate_private_key(65537, 2048)), pem(ec.generate_private_key(ec.SECP384R1()))):
        with pytest.raises(Refused, match="service account key"):
            SigningKey(given)
