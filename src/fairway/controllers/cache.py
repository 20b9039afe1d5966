"""What controllers know of one resource: the watch's objects, and their own writes ahead of it. Pure.

A controller that reads only what the watch has told would act twice: create a pod again that it created a moment ago,
give the same address to two Services. So an answer to a write is put here at once, and stays until the watch has come
as far. That rests on versions of one resource being numbers in the order of its watch (KEP-5504).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from fairway.api.resources import Resource
from fairway.api.types import Key, Object, key_of
from fairway.controllers.objects import controller_of, is_terminating, owners, uid, version

NO_CONTROLLER = ""
"""In place of an owner's uid: objects that no controller owns."""


class Cache(Mapping[Key, Object]):
    """Objects of one resource by key, also found by namespace and by owner; none is ever changed in place."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._by_namespace: dict[str, dict[Key, Object]] = defaultdict(dict)
        self._by_owner: dict[str, dict[Key, Object]] = defaultdict(dict)
        self._unseen: dict[Key, int] = {}
        self._seen = 0

    def __getitem__(self, key: Key) -> Object:
        return self._objects[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def in_namespace(self, namespace: str) -> list[Object]:
        return list(self._by_namespace.get(namespace, {}).values())

    def owned_by(self, owner: str) -> list[Object]:
        """Objects with an owner reference to this uid."""
        return list(self._by_owner.get(owner, {}).values())

    def without_controller(self, namespace: str) -> list[Object]:
        """Objects of a namespace that could be adopted."""
        return [obj for key, obj in self._by_owner.get(NO_CONTROLLER, {}).items() if key.namespace == namespace]

    def observe(self, key: Key, previous: Object | None, current: Object | None) -> bool:
        """Take a change that the watch tells: appeared (previous None), changed, or gone (current None).

        Returns whether it is news; the echo of an answer that is here already is none.
        """
        if current is None:
            have = self._objects.get(key)
            if have is not None and (previous is None or uid(have) == uid(previous)):
                self._remove(key)
            return True
        self._seen = max(self._seen, version(current))
        have = self._objects.get(key)
        # Of equal versions the one we have may say more: what we assume of a write (`assume`, `deleted`).
        news = have is None or uid(have) != uid(current) or version(have) < version(current)
        if news:
            self._put(key, current)
        elif have is not None and version(have) == version(current):
            self._unseen.pop(key, None)
        self._forget_missed()
        return news

    def created(self, answer: Object) -> None:
        """Take the answer to a create; one the watch has passed already is old news: it may be deleted by now."""
        key = key_of(answer)
        have = self._objects.get(key)
        if version(answer) <= self._seen or (have is not None and version(have) >= version(answer)):
            return
        self._put(key, answer)
        self._unseen[key] = version(answer)

    def updated(self, answer: Object) -> None:
        """Take the answer to an update or patch, if it is newer than what is known."""
        key = key_of(answer)
        have = self._objects.get(key)
        if have is not None and uid(have) == uid(answer) and version(have) < version(answer):
            self._put(key, answer)

    def assume(self, before: Object, after: Object) -> None:
        """Take what a write surely did where its answer does not show the object, unless it has changed since."""
        key = key_of(before)
        have = self._objects.get(key)
        if have is not None and uid(have) == uid(before) and version(have) == version(before):
            self._put(key, after)

    def deleted(self, key: Key, of: str, at: str) -> None:
        """The object with uid `of` was deleted at that time: until the watch tells more it counts as terminating."""
        have = self._objects.get(key)
        if have is not None and uid(have) == of and not is_terminating(have):
            self._put(key, {**have, "metadata": {**have["metadata"], "deletionTimestamp": at}})

    def _put(self, key: Key, obj: Object) -> None:
        self._remove(key)
        self._objects[key] = obj
        self._by_namespace[key.namespace][key] = obj
        for owner in _owner_uids(obj):
            self._by_owner[owner][key] = obj

    def _remove(self, key: Key) -> None:
        have = self._objects.pop(key, None)
        self._unseen.pop(key, None)
        if have is None:
            return
        _drop(self._by_namespace, key.namespace, key)
        for owner in _owner_uids(have):
            _drop(self._by_owner, owner, key)

    def _forget_missed(self) -> None:
        """Drop created objects that the watch has passed without a word: deleted while it had to list anew."""
        for key in [key for key, created in self._unseen.items() if created < self._seen]:
            self._remove(key)


Caches = Mapping[Resource, Cache]
"""The cache of every resource that a controller watches."""


def _owner_uids(obj: Object) -> set[str]:
    uids = {str(owner.get("uid")) for owner in owners(obj)}
    return uids if controller_of(obj) is not None else uids | {NO_CONTROLLER}


def _drop(index: dict[str, dict[Key, Object]], name: str, key: Key) -> None:
    del index[name][key]
    if not index[name]:
        del index[name]
