"""The volumes of a pod: read from the API, written to where its containers mount them, and kept as the API says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fairway.api.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, Resource
from fairway.api.status import ApiError
from fairway.api.types import Object
from fairway.base.errors import FairwayError
from fairway.kubelet.pod import PodSpec
from fairway.kubelet.sources import values_of
from fairway.kubelet.volume import FieldSource, SourceKind, TokenSource, ValuesSource, Volume
from fairway.kubelet.volume_files import File, MountError, volume_files, wanted_values
from fairway.kubelet.volume_writer import make_empty, write_files
from fairway.watch.client import Client

SYNC_S = 10.0
"""How old the files of a ConfigMap or Secret may be; a kubelet takes a minute (its --sync-frequency)."""

ROOT_CA = "kube-root-ca.crt"
"""In every pod's token volume, and the same for as long as the cluster lives: not looked at again for a pod's sake."""

ROOT_CA_S = 60.0
"""For so long one reading of it is good for all pods that start."""

TOKEN_RENEWED_AT = 0.8
"""Of its life (`pkg/kubelet/token/token_manager.go`)."""

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 5.0
"""After a volume could not be made, doubled each time (`pkg/util/goroutinemap/exponentialbackoff`, with a shorter end:
people wait for what they have just made)."""

_RESOURCES: dict[SourceKind, Resource] = {SourceKind.CONFIG_MAP: CONFIG_MAPS, SourceKind.SECRET: SECRETS}

Values = dict[str, bytes]
_Key = tuple[SourceKind, str, str]


@dataclass(slots=True)
class Library:
    """What volumes are made of, for all pods of a node: ConfigMaps and Secrets, read once while many pods want them.

    allocatable: what the node has, quantities by resource.
    """

    client: Client
    allocatable: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _read: dict[_Key, tuple[float, Values]] = field(default_factory=dict)
    _locks: dict[_Key, asyncio.Lock] = field(default_factory=dict)

    async def values(self, kind: SourceKind, namespace: str, name: str, *, age_s: float) -> Values | None:
        """Its values, as they were at most `age_s` seconds ago; None where there is none. Raises ApiError or Retry."""
        key, asked = (kind, namespace, name), self.clock()
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._read.get(key)
            if known is not None and known[0] >= asked - age_s:
                return known[1]
            self._forget_old()
            begun = self.clock()
            try:
                found = values_of(await self.client.get(_RESOURCES[kind], name, namespace))
            except ApiError as error:
                if error.code != 404:
                    raise
                return None
            self._read[key] = (begun, found)
            return found

    def _forget_old(self) -> None:
        now = self.clock()
        for key in [key for key, (at, _) in self._read.items() if now - at > ROOT_CA_S]:
            del self._read[key]
        for key in [key for key, lock in self._locks.items() if key not in self._read and not lock.locked()]:
            del self._locks[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A pod as it is now whose volumes are written to a store."""

    pod: PodSpec
    obj: Object
    store: Path


@dataclass(slots=True)
class PodVolumes:
    """Of one pod. addresses: of its node, the primary one first. clock: seconds since the epoch.

    changed: set by whoever changes the pod, or gives it a store.
    """

    library: Library
    addresses: Sequence[str]
    clock: Callable[[], float] = time.time
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tokens: dict[TokenSource, tuple[str, float]] = field(default_factory=dict)
    _written: dict[str, Mapping[str, File]] = field(default_factory=dict)
    _failures: int = 0

    async def read(self, pod: PodSpec, obj: Object, *, age_s: float = 0.0) -> dict[str, Mapping[str, File]]:
        """The files of each volume that has sources, by its name. Raises MountError, which names the volume."""
        files: dict[str, Mapping[str, File]] = {}
        for volume in pod.volumes:
            if volume.sources is None:
                continue
            try:
                sources = await self._values(pod, volume, age_s)
                tokens = {one: await self._token(pod, one) for one in volume.sources if isinstance(one, TokenSource)}
                files[volume.name] = volume_files(
                    volume,
                    obj,
                    sources=sources,
                    tokens=tokens,
                    addresses=self.addresses,
                    allocatable=self.library.allocatable,
                )
            except FairwayError as error:
                raise MountError(_failed(volume, error)) from error
        return files

    async def _values(self, pod: PodSpec, volume: Volume, age_s: float) -> dict[tuple[SourceKind, str], Values]:
        """Of those that are there."""
        found = {}
        for source in volume.sources or ():
            if isinstance(source, ValuesSource):
                age = ROOT_CA_S if source.name == ROOT_CA else age_s
                values = await self.library.values(source.kind, pod.key.namespace, source.name, age_s=age)
                if values is not None:
                    found[source.kind, source.name] = values
        return found

    async def _token(self, pod: PodSpec, wanted: TokenSource) -> str:
        """A token that is good for a while yet, a new one where need be (the API's TokenRequest)."""
        now = self.clock()
        if wanted in self._tokens and now < self._tokens[wanted][1]:
            return self._tokens[wanted][0]
        body: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [wanted.audience] if wanted.audience else [],
                "expirationSeconds": wanted.expiration_s,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.key.name, "uid": pod.uid},
            },
        }
        try:
            made = await self.library.client.create(
                SERVICE_ACCOUNTS, body, pod.key.namespace, name=pod.service_account, subresource="token"
            )
        except FairwayError as error:
            raise MountError(f"failed to fetch token: {error}") from error
        token = str(made["status"]["token"])
        self._tokens[wanted] = (token, now + TOKEN_RENEWED_AT * int(made["spec"]["expirationSeconds"]))
        return token

    def write(self, pod: PodSpec, files: Mapping[str, Mapping[str, File]], store: Path) -> None:
        """Put what was read, and the emptyDirs, into the pod's store; what is there already is left. Raises Refused."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        for volume in pod.volumes:
            try:
                if volume.sources is None:
                    make_empty(store / volume.name)
                elif self._written.get(volume.name) != files[volume.name]:
                    write_files(store / volume.name, files[volume.name], now)
                    self._written[volume.name] = files[volume.name]
            except OSError as error:
                raise MountError(_failed(volume, error.strerror or error)) from error
        self._failures = 0

    async def keep(self, mounted: Callable[[], Mounted | None], tell: Callable[[str], None]) -> None:
        """Let the files follow what they come from, for ever; a failure is told once and tried again.

        mounted: the pod, None while it has no store.
        """
        told = ""
        while True:
            self.changed.clear()
            now = mounted()
            try:
                async with asyncio.timeout(self._next_sync_s(now.pod) if now is not None else None):
                    await self.changed.wait()
            except TimeoutError:
                pass
            else:
                if now is None or not _shows_fields(now.pod):
                    continue
            if (now := mounted()) is None:
                continue
            try:
                files = await self.read(now.pod, now.obj, age_s=SYNC_S / 2)
                if (still := mounted()) is not None and still.store == now.store:
                    self.write(now.pod, files, now.store)
                told = ""
            except MountError as error:
                if str(error) != told:
                    told = str(error)
                    tell(told)
                await asyncio.sleep(self.retry_s())

    def retry_s(self) -> float:
        """How long to wait after another failure."""
        self._failures += 1
        return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** (self._failures - 1))

    def _next_sync_s(self, pod: PodSpec) -> float | None:
        """In how many seconds to read them again; None for volumes that only the pod's own change can change."""
        renewals = [max(0.0, at - self.clock()) for _, at in self._tokens.values()]
        looked_at = any(source.name != ROOT_CA for source in wanted_values(pod))
        return min([*renewals, *([SYNC_S] if looked_at else [])], default=None)


def _shows_fields(pod: PodSpec) -> bool:
    """Whether a change of the pod itself can change its volumes."""
    return any(isinstance(source, FieldSource) for volume in pod.volumes for source in volume.sources or ())


def _failed(volume: Volume, why: object) -> str:
    """The text of a FailedMount event (`pkg/volume/util/operationexecutor/operation_generator.go`)."""
    return f'MountVolume.SetUp failed for volume "{volume.name}" : {why}'
