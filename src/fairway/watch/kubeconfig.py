"""Kubeconfig files and in-cluster service accounts, read into Credentials.

Source of the format: client-go `tools/clientcmd/api/v1/types.go`; of the in-cluster paths: `rest/config.go`.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from fairway.base.errors import Refused

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, the cluster's CA and its namespace."""

_UNSUPPORTED_USER_FIELDS = (
    "exec",
    "auth-provider",
    "username",
    "password",
    "as",
    "as-uid",
    "as-groups",
    "as-user-extra",
)
_UNSUPPORTED_CLUSTER_FIELDS = ("proxy-url",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where an API server is and how to prove to it who asks.

    server: base URL without a trailing slash. ssl_context: for https, holds the CA and a client certificate if there
    is one. server_name: the name the server's certificate must carry, where it differs from the URL's host.
    authority: the CA by which the server is verified, PEM, empty where it is the system's or none.
    token, token_file: a bearer token; the file is read again for every request, as tokens in it are rotated.
    namespace: the context's default namespace. origin: for messages, the file and context these come from.
    """

    server: str
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    server_name: str | None = None
    authority: str = field(default="", repr=False)
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    namespace: str = "default"
    origin: str = ""

    def authorization(self) -> str | None:
        """The Authorization header's value as of now, or None.

        Raises Refused where the token file cannot be read.
        """
        token = self.token
        if self.token_file is not None:
            try:
                token = self.token_file.read_text("ascii").strip()
            except (OSError, UnicodeError) as error:
                raise Refused(f"{self.origin}: cannot read the token file {self.token_file}: {_why(error)}") from error
        return f"Bearer {token}" if token else None


def load_kubeconfig(path: Path, *, context: str | None = None) -> Credentials:
    """The credentials of a context of a kubeconfig file, by default its current-context.

    Relative paths in it are relative to the file. Raises Refused for a file that is missing or malformed, naming the
    file, the entry and the field.
    """
    config = _read_config(path)
    name = context or config.get("current-context") or ""
    if not name:
        raise Refused(f"{path}: current-context is empty; name a context (one of {_names(config, 'contexts')})")
    chosen = _entry(path, config, "contexts", "context", name, wanted_by="current-context" if not context else "")
    where = f'{path}: context "{name}"'
    cluster_name, user_name = _text(where, chosen, "cluster"), _text(where, chosen, "user")
    if not cluster_name:
        raise Refused(f"{where}: field cluster is missing")
    cluster = _entry(path, config, "clusters", "cluster", cluster_name, wanted_by=where)
    user: Mapping[str, Any] = {}
    if user_name:
        user = _entry(path, config, "users", "user", user_name, wanted_by=where)
    return _credentials(path, name, cluster_name, cluster, user_name, user, _text(where, chosen, "namespace"))


def load_in_cluster(environ: Mapping[str, str] = os.environ, *, directory: Path = SERVICE_ACCOUNT_DIR) -> Credentials:
    """The credentials of the pod this runs in. Raises Refused outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise Refused(
            "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; name a kubeconfig file"
        )
    token_file, authority = directory / "token", directory / "ca.crt"
    if not token_file.is_file():
        raise Refused(f"not in a cluster: {token_file} is missing; name a kubeconfig file")
    certificates = _read_file("in-cluster", "ca.crt", authority)
    tls = _tls_context("in-cluster", certificates)
    namespace_file = directory / "namespace"
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ssl_context=tls,
        authority=certificates.decode("ascii"),
        token_file=token_file,
        namespace=namespace_file.read_text().strip() if namespace_file.is_file() else "default",
        origin="in-cluster",
    )


def _credentials(
    path: Path,
    context: str,
    cluster_name: str,
    cluster: Mapping[str, Any],
    user_name: str,
    user: Mapping[str, Any],
    namespace: str,
) -> Credentials:
    in_cluster, in_user = f'{path}: cluster "{cluster_name}"', f'{path}: user "{user_name}"'
    _refuse_fields(in_cluster, cluster, _UNSUPPORTED_CLUSTER_FIELDS)
    _refuse_fields(in_user, user, _UNSUPPORTED_USER_FIELDS)
    server = _server(in_cluster, cluster)
    https = server.startswith("https:")
    authority = _data(path, in_cluster, cluster, "certificate-authority") if https else None
    token_file = _text(in_user, user, "tokenFile")
    return Credentials(
        server=server,
        ssl_context=_ssl_context(path, in_cluster, cluster, authority, in_user, user) if https else None,
        server_name=_text(in_cluster, cluster, "tls-server-name") or None,
        authority=(authority or b"").decode("ascii"),
        token=_text(in_user, user, "token") or None,
        token_file=path.parent / token_file if token_file else None,
        namespace=namespace or "default",
        origin=f'{path}: context "{context}"',
    )


def _ssl_context(
    path: Path,
    in_cluster: str,
    cluster: Mapping[str, Any],
    authority: bytes | None,
    in_user: str,
    user: Mapping[str, Any],
) -> ssl.SSLContext:
    insecure = cluster.get("insecure-skip-tls-verify", False)
    if not isinstance(insecure, bool):
        raise Refused(f"{in_cluster}: field insecure-skip-tls-verify must be true or false")
    if insecure and authority:
        raise Refused(f"{in_cluster}: insecure-skip-tls-verify and certificate-authority exclude each other")
    context = _tls_context(f"{in_cluster}: field certificate-authority", authority, verify=not insecure)
    certificate, key = _data(path, in_user, user, "client-certificate"), _data(path, in_user, user, "client-key")
    if certificate and not key:
        raise Refused(f"{in_user}: client-certificate needs client-key")
    if key and not certificate:
        raise Refused(f"{in_user}: client-key needs client-certificate")
    if certificate and key:
        with _private_file(certificate) as certificate_file, _private_file(key) as key_file:
            try:
                context.load_cert_chain(certificate_file, key_file, password=_no_password)
            except (ssl.SSLError, OSError, ValueError) as error:
                raise Refused(
                    f"{in_user}: client-certificate and client-key are no usable pair: {_why(error)}"
                ) from error
    return context


def _tls_context(field_name: str, authority: bytes | None, *, verify: bool = True) -> ssl.SSLContext:
    """A client context with this CA (PEM), or with the system's where there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cadata=authority.decode("ascii"))
        except (ssl.SSLError, UnicodeError, ValueError) as error:
            raise Refused(f"{field_name} is no PEM certificate: {_why(error)}") from error
    return context


def _no_password() -> str:
    """Keeps OpenSSL from asking the terminal for an encrypted key's password."""
    return ""


@contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """A file of mode 0600 that lives as long as the with block: OpenSSL takes a client certificate only from files."""
    descriptor, name = tempfile.mkstemp(prefix="fairway-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield name
    finally:
        os.unlink(name)


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeError) as error:
        raise Refused(f"cannot read kubeconfig {path}: {_why(error)}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise Refused(f"kubeconfig {path} is no YAML{line}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(config, dict):
        raise Refused(f"kubeconfig {path} is empty or no mapping")
    return config


def _entry(
    path: Path, config: Mapping[str, Any], plural: str, singular: str, name: str, *, wanted_by: str
) -> dict[str, Any]:
    """The `singular` part of the entry called `name` in the list `plural`."""
    entries = config.get(plural) or []
    if not isinstance(entries, list):
        raise Refused(f"{path}: field {plural} must be a list")
    for entry in entries:
        if isinstance(entry, dict) and entry.get("name") == name:
            part = entry.get(singular) or {}
            if not isinstance(part, dict):
                raise Refused(f'{path}: {singular} "{name}": field {singular} must be a mapping')
            return part
    because = f", which {wanted_by} names" if wanted_by else ""
    raise Refused(f'{path}: there is no {singular} "{name}"{because} (there are: {_names(config, plural)})')


def _names(config: Mapping[str, Any], plural: str) -> str:
    entries = config.get(plural)
    names = (
        [str(entry.get("name")) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    return ", ".join(names) or "none"


def _text(where: str, part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(f"{where}: field {name} must be a string")
    return value


def _server(where: str, cluster: Mapping[str, Any]) -> str:
    server = _text(where, cluster, "server").rstrip("/")
    if not server:
        raise Refused(f"{where}: field server is missing")
    if "://" not in server:
        # client-go defaults a bare host to http; it is only ever a mistake for an API server.
        raise Refused(f'{where}: field server must start with https:// or http://, not be "{server}"')
    parts = urlsplit(server)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise Refused(f'{where}: field server is no URL of an API server: "{server}"')
    return server


def _refuse_fields(where: str, part: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if part.get(name):
            raise Refused(
                f"{where}: field {name} is not supported; use a client certificate, token or tokenFile"
                if name != "proxy-url"
                else f"{where}: field {name} is not supported; reach the server directly"
            )


def _data(path: Path, where: str, part: Mapping[str, Any], name: str) -> bytes | None:
    """The content of `name`-data (base64, wins) or of the file that `name` names."""
    encoded = _text(where, part, f"{name}-data")
    if encoded:
        try:
            return base64.b64decode("".join(encoded.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused(f"{where}: field {name}-data is no base64: {error}") from error
    file = _text(where, part, name)
    return _read_file(where, name, path.parent / file) if file else None


def _read_file(where: str, field_name: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Refused(f"{where}: field {field_name}: cannot read {file}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """The reason alone, without the errno and the path an OSError repeats."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
