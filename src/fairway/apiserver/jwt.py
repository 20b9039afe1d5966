"""JSON Web Tokens signed with ES256, as service account tokens are (RFC 7515, 7518 section 3.4, 7519). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from fairway.base.errors import Refused

_ALGORITHM = "ES256"
_NUMBER = 32
"""Bytes of each of the two numbers that make a signature on P-256."""


class InvalidTokenError(Exception):
    """Not a token that was signed with this key; the text says why, and nobody who sent it is told."""


class SigningKey:
    """A private key on the curve P-256."""

    def __init__(self, pem: bytes) -> None:
        """Raises Refused for anything else."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise Refused(f"service account key: not a private key in PEM: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Refused("service account key: it must be an elliptic curve key on P-256 (prime256v1)")
        self._key = key
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._public = key.public_key()
        self._id = _encode(hashlib.sha256(public).digest())

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The token that says so."""
        header = {"alg": _ALGORITHM, "kid": self._id}
        signed = f"{_encode(msgspec.json.encode(header))}.{_encode(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(_NUMBER, 'big') + s.to_bytes(_NUMBER, 'big'))}"

    def verify(self, token: str) -> Mapping[str, Any]:
        """What a token signed with this key says; times and audience are not looked at. Raises InvalidTokenError."""
        signed, _, signature = token.rpartition(".")
        try:
            header, claims = (msgspec.json.decode(_decode(part), type=dict[str, Any]) for part in signed.split("."))
            numbers = _decode(signature)
        except (ValueError, msgspec.DecodeError) as error:
            raise InvalidTokenError(f"not a token: {error}") from error
        # The algorithm is this key's and not the sender's to choose (RFC 8725, section 3.1).
        if header.get("alg") != _ALGORITHM or len(numbers) != 2 * _NUMBER:
            raise InvalidTokenError(f"not signed with {_ALGORITHM}")
        r, s = int.from_bytes(numbers[:_NUMBER], "big"), int.from_bytes(numbers[_NUMBER:], "big")
        try:
            self._public.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise InvalidTokenError("not signed with this key") from None
        return claims


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
