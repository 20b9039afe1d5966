"""What wakes the controllers that furnish namespaces, and what each sees. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from fairway.api.resources import CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS
from fairway.api.types import Key
from fairway.controllers import namespaces
from fairway.controllers.cache import Caches
from fairway.controllers.controller import Attempt, Change, Controller
from fairway.controllers.writes import Write


def _namespace_of(change: Change, called: str) -> Iterator[Key]:
    """The namespace that became active, or whose object of that name changed or went."""
    if change.resource == NAMESPACES:
        if change.current is not None and change.differs(namespaces.is_active):
            yield change.key
    elif change.key.name == called and change.news:
        yield Key("", change.key.namespace)


def _account_keys(change: Change, caches: Caches) -> Iterator[Key]:
    return _namespace_of(change, namespaces.SERVICE_ACCOUNT_NAME)


def _reconcile_account(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
    namespace = caches[NAMESPACES].get(key)
    if namespace is None:
        return []
    account = caches[SERVICE_ACCOUNTS].get(Key(key.name, namespaces.SERVICE_ACCOUNT_NAME))
    return namespaces.reconcile_service_account(namespace, account)


SERVICE_ACCOUNT = Controller(
    name="serviceaccount-controller",
    watches=(NAMESPACES, SERVICE_ACCOUNTS),
    keys=_account_keys,
    reconcile=_reconcile_account,
)


def _root_ca_keys(change: Change, caches: Caches) -> Iterator[Key]:
    return _namespace_of(change, namespaces.ROOT_CA_NAME)


def root_ca_publisher(root_ca: str) -> Controller:
    """The controller that publishes these certificates (PEM) in every namespace."""

    def reconcile(key: Key, caches: Caches, attempt: Attempt) -> list[Write]:
        namespace = caches[NAMESPACES].get(key)
        if namespace is None:
            return []
        published = caches[CONFIG_MAPS].get(Key(key.name, namespaces.ROOT_CA_NAME))
        return namespaces.reconcile_root_ca(namespace, published, root_ca)

    return Controller(
        name="root-ca-certificate-publisher-controller",
        watches=(NAMESPACES, CONFIG_MAPS),
        keys=_root_ca_keys,
        reconcile=reconcile,
    )
