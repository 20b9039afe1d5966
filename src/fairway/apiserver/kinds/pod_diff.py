"""Where two PodSpecs differ, as a real server shows it: its internal type as indented JSON, compared line by line
(kubernetes `pkg/apis/core/validation`, `diff.Diff`; the types in `pkg/apis/core/types.go`).

The internal types have the fields of v1 under Go's names, every one of them written, except where `_ORDER` and
`_POD_NETWORK` say otherwise.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

from fairway.api.types import Object
from fairway.apiserver.schema import SCHEMA
from fairway.apiserver.schema.model import Field, Scalar, Shape

_WORDS = {
    **{word: word.upper() for word in ("api", "aws", "csi", "dns", "fc", "fs", "gce", "gid", "gmsa", "grpc", "http")},
    **{word: word.upper() for word in ("ip", "iqn", "iscsi", "nfs", "os", "pd", "qos", "rbd", "se", "ssl", "tcp")},
    **{word: word.upper() for word in ("tty", "uid")},
    "cephfs": "CephFS",
    "storageos": "StorageOS",
}
"""First words of names that Go does not merely capitalise."""

_POD_NETWORK = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
"""Fields of v1's PodSpec that the internal type keeps in the security context."""

_POD_SPEC = """
    volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds
    activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName automountServiceAccountToken nodeName
    securityContext imagePullSecrets hostname subdomain setHostnameAsFQDN affinity schedulerName tolerations
    hostAliases priorityClassName priority preemptionPolicy dnsConfig readinessGates runtimeClassName overhead
    enableServiceLinks topologySpreadConstraints os schedulingGates resourceClaims resources hostnameOverride
"""
_CONTAINER = """
    name image command args workingDir ports envFrom env resources resizePolicy restartPolicy restartPolicyRules
    volumeMounts volumeDevices livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath
    terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty
"""
_CONTAINER_PORT = "name hostPort containerPort protocol hostIP"

_ORDER = {
    name: text.split()
    for name, text in (("PodSpec", _POD_SPEC), ("Container", _CONTAINER), ("ContainerPort", _CONTAINER_PORT))
}
"""Fields of the internal types whose order is not that of the description."""

_ZERO = {Scalar.STRING: "", Scalar.BOOL: False, Scalar.INT32: 0, Scalar.INT64: 0}


def spec_difference(old: Object, new: Object) -> str:
    """A unified diff with three lines of context, without its header."""
    before, after = (_dump(spec).splitlines(keepends=True) for spec in (old, new))
    return "".join(list(difflib.unified_diff(before, after, n=3))[2:])


def _dump(spec: Object) -> str:
    moved = {name: spec[name] for name in _POD_NETWORK if name in spec}
    rest = {name: value for name, value in spec.items() if name not in _POD_NETWORK}
    shown = _struct("PodSpec", rest)
    network = {_go_name(field.name): _field(field, moved.get(field.name)) for field in _network_fields()}
    if shown["SecurityContext"] is not None:
        shown["SecurityContext"] = network | shown["SecurityContext"]
    return json.dumps(shown, indent=1, ensure_ascii=False) + "\n"


def _network_fields() -> list[Field]:
    fields = SCHEMA.types["PodSpec"].fields
    return [fields[name] for name in _POD_NETWORK]


def _struct(type_name: str, value: Object) -> Object:
    fields = SCHEMA.types[type_name].fields
    names = _ORDER.get(type_name, list(fields))
    return {_go_name(name): _field(fields[name], value.get(name)) for name in names}


def _field(field: Field, value: Any) -> Any:
    if value is None:
        return None if field.pointer or field.shape is not Shape.ONE else _zero(field)
    if field.shape is Shape.LIST:
        return [_one(field, item) for item in value]
    if field.shape is Shape.MAP:
        return {key: _one(field, item) for key, item in value.items()}
    return _one(field, value)


def _zero(field: Field) -> Any:
    if field.scalar is None:
        return _struct(field.element, {})
    return _ZERO.get(field.scalar)


def _one(field: Field, value: Any) -> Any:
    return _struct(field.element, value) if field.scalar is None else value


def _go_name(name: str) -> str:
    word = re.match("[a-z]*", name)
    first = word.group() if word is not None else ""
    return _WORDS.get(first, first.capitalize()) + name[len(first) :]
