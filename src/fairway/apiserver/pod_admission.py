"""What a pod gets as it is created: a service account, and its token mounted in every container. Pure.

Facts: `plugin/pkg/admission/serviceaccount/admission.go`.
"""

from __future__ import annotations

from fairway.api.resources import PODS, SERVICE_ACCOUNTS
from fairway.api.types import Key, Object
from fairway.apiserver import metadata as meta
from fairway.apiserver.metadata import Surroundings
from fairway.apiserver.revisions import Revisions

_DEFAULT = "default"
_VOLUME_PREFIX = "kube-api-access-"
_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_S = 3607
_FILE_MODE = 0o644


def admit_pod(revisions: Revisions, pod: Object, around: Surroundings) -> Object:
    """The pod with its service account and what that brings. Raises ApiError 403 for an account that is not there.

    The account `default` may be on its way, which a controller makes of every new namespace: a real server waits a
    second for it, here the kubelet waits for its token.
    """
    metadata, spec = pod["metadata"], dict(pod["spec"])
    name = spec.get("serviceAccountName") or _DEFAULT
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    namespace = metadata.get("namespace") or ""
    found = revisions.latest(SERVICE_ACCOUNTS, Key(namespace, name))
    if found is None and name != _DEFAULT:
        reason = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise meta.forbidden(PODS, metadata.get("name") or "", reason)
    account = found.obj if found is not None else {}
    if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    if _wants_token(spec, account):
        _mount_token(spec, around)
    return {**pod, "spec": spec}


def _wants_token(spec: Object, account: Object) -> bool:
    """The pod says, else its account; where neither does it is mounted."""
    for given in (spec, account):
        if given.get("automountServiceAccountToken") is not None:
            return bool(given["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object, around: Surroundings) -> None:
    volumes = spec.get("volumes") or []
    own = [one["name"] for one in volumes if one.get("projected") and one["name"].startswith(_VOLUME_PREFIX)]
    volume = own[0] if own else f"{_VOLUME_PREFIX}{around.new_suffix()}"
    mounted = False
    for field in ("initContainers", "containers"):
        containers = []
        for container in spec.get(field) or []:
            mounts = container.get("volumeMounts") or []
            if not any(mount.get("mountPath") == _MOUNT_PATH for mount in mounts):
                mount = {"name": volume, "readOnly": True, "mountPath": _MOUNT_PATH}
                containers.append({**container, "volumeMounts": [*mounts, mount]})
                mounted = True
            else:
                containers.append(container)
        if containers:
            spec[field] = containers
    if mounted and not own:
        spec["volumes"] = [*volumes, _token_volume(volume)]


def _token_volume(name: str) -> Object:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "name": name,
        "projected": {
            "defaultMode": _FILE_MODE,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": _TOKEN_S, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
            ],
        },
    }
