"""What every namespace has from the start: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. Pure.

Rules: `pkg/controller/serviceaccount/serviceaccounts_controller.go`,
`pkg/controller/certificates/rootcacertpublisher/publisher.go`.
"""

from __future__ import annotations

from fairway.api.resources import CONFIG_MAPS, SERVICE_ACCOUNTS, Resource
from fairway.api.types import Object
from fairway.controllers.objects import annotations_of, changed, is_terminating, name, status
from fairway.controllers.writes import Create, Update, Write

SERVICE_ACCOUNT_NAME = "default"
ROOT_CA_NAME = "kube-root-ca.crt"
ROOT_CA_KEY = "ca.crt"
_DESCRIPTION = "kubernetes.io/description"
_ROOT_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)
"""What a real cluster says on the ConfigMap (`publisher.go`)."""


def is_active(namespace: Object) -> bool:
    """Whether a namespace still takes new objects."""
    return status(namespace).get("phase") == "Active" and not is_terminating(namespace)


def reconcile_service_account(namespace: Object, account: Object | None) -> list[Write]:
    """Make the namespace's `default` ServiceAccount where there is none."""
    if account is not None or not is_active(namespace):
        return []
    return [Create(resource=SERVICE_ACCOUNTS, body=_new(SERVICE_ACCOUNTS, namespace, SERVICE_ACCOUNT_NAME))]


def reconcile_root_ca(namespace: Object, published: Object | None, root_ca: str) -> list[Write]:
    """Make the namespace's `kube-root-ca.crt`, or say in it again what it must say.

    root_ca: certificates, PEM.
    """
    if not is_active(namespace):
        return []
    data, notes = {ROOT_CA_KEY: root_ca}, {_DESCRIPTION: _ROOT_CA_DESCRIPTION}
    if published is None:
        body = _new(CONFIG_MAPS, namespace, ROOT_CA_NAME)
        body["metadata"]["annotations"] = notes
        return [Create(resource=CONFIG_MAPS, body={**body, "data": data})]
    if published.get("data") == data and annotations_of(published).get(_DESCRIPTION):
        return []
    body = changed(published)
    body["metadata"]["annotations"] = {**annotations_of(published), **notes}
    return [Update(resource=CONFIG_MAPS, body={**body, "data": data})]


def _new(resource: Resource, namespace: Object, called: str) -> Object:
    metadata = {"name": called, "namespace": name(namespace)}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
