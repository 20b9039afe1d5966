"""The walk without kubectl: the same requests to the API server, made here, for just the commands the walk types."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from fairway.api.resources import PODS, RESOURCES, Resource
from fairway.api.types import Object
from fairway.base.errors import FairwayError, Refused
from fairway.watch.kubeconfig import Credentials

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
STRATEGIC = "application/strategic-merge-patch+json"
_WAIT_LIMIT_S = 90.0
_ERROR_CHANNEL = 3


class StandIn:
    """Requests in kubectl's place; an async context manager."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._credentials.ssl_context or True)
        self._session = aiohttp.ClientSession(self._credentials.server, connector=connector)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def run(self, args: Sequence[str]) -> tuple[int, str]:
        """As kubectl would: exit status and output."""
        verbs: dict[str, Callable[[list[str], dict[str, str]], Any]] = {
            "apply": self._apply,
            "get": self._get,
            "patch": self._patch,
            "rollout": self._rollout,
            "wait": self._wait,
            "scale": self._scale,
            "delete": self._delete,
            "cordon": self._cordon,
            "uncordon": self._uncordon,
        }
        own, _, command = _split(args)
        words, flags = _flags(own)
        try:
            if words[0] == "exec":
                return await self._exec(words[1], command)
            return 0, await verbs[words[0]](words[1:], flags)
        except FairwayError as error:
            return 1, f"{error}\n"

    def watch(self, args: Sequence[str]) -> StandInWatch:
        """A `get -w` of one kind as a table without headers."""
        words, _ = _flags(args)
        return StandInWatch(self._session, _resource(words[1]))

    async def _apply(self, words: list[str], flags: dict[str, str]) -> str:
        lines = []
        for file in flags["-f"].split(","):
            for body in _documents(file):
                resource, name = _resource(body["kind"]), body["metadata"]["name"]
                try:
                    before = await self._request("GET", resource.path("default", name))
                except Refused:
                    await self._request("POST", resource.path("default"), body)
                    done = "created"
                else:
                    after = await self._request("PATCH", resource.path("default", name), body, content_type=STRATEGIC)
                    done = "unchanged" if _wanted(after) == _wanted(before) else "configured"
                lines.append(f"{_kind(resource)}/{name} {done}\n")
        return "".join(lines)

    async def _get(self, words: list[str], flags: dict[str, str]) -> str:
        query = {"labelSelector": flags["-l"]} if "-l" in flags else {}
        name = words[1] if len(words) > 1 else ""
        if flags.get("-o") == "json":
            answer = await self._request("GET", _resource(words[0]).path("default", name), query=query)
            return json.dumps(answer)
        tables = []
        for kind in words[0].split(","):
            path = _resource(kind).path("default", name)
            table = await self._request("GET", path, query=query, accept=TABLE)
            tables.append(_table_text(table, wide=flags.get("-o") == "wide"))
        return "\n".join(tables)

    async def _patch(self, words: list[str], flags: dict[str, str]) -> str:
        resource = _resource(words[0])
        body = json.loads(flags["-p"])
        await self._request("PATCH", resource.path("default", words[1]), body, content_type=STRATEGIC)
        return f"{_kind(resource)}/{words[1]} patched\n"

    async def _rollout(self, words: list[str], flags: dict[str, str]) -> str:
        name = words[1].partition("/")[2]

        def complete(deployment: Object) -> bool:
            status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
            counts = [status.get(field, 0) for field in ("replicas", "updatedReplicas", "availableReplicas")]
            return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 3

        await self._until(_resource("deployment").path("default", name), complete)
        return f'deployment "{name}" successfully rolled out\n'

    async def _wait(self, words: list[str], flags: dict[str, str]) -> str:
        kind, _, name = words[0].partition("/")
        condition, _, status = flags["--for"].removeprefix("condition=").partition("=")

        def met(obj: Object) -> bool:
            found = [
                item["status"] for item in obj.get("status", {}).get("conditions", ()) if item["type"] == condition
            ]
            return [value.lower() for value in found] == [(status or "true").lower()]

        await self._until(_resource(kind).path("default", name), met)
        return f"{kind}/{name} condition met\n"

    async def _scale(self, words: list[str], flags: dict[str, str]) -> str:
        kind, _, name = words[0].partition("/")
        resource = _resource(kind)
        body = {"spec": {"replicas": int(flags["--replicas"])}}
        path = resource.path("default", name, "scale")
        await self._request("PATCH", path, body, content_type="application/merge-patch+json")
        return f"{_kind(resource)}/{name} scaled\n"

    async def _delete(self, words: list[str], flags: dict[str, str]) -> str:
        targets = [(words[0], name) for name in words[1:]]
        if "-f" in flags:
            targets = [(body["kind"], body["metadata"]["name"]) for body in _documents(flags["-f"])]
        lines = []
        for kind, name in targets:
            resource = _resource(kind)
            await self._request("DELETE", resource.path("default", name), {"propagationPolicy": "Background"})
            lines.append(f'{_kind(resource)} "{name}" deleted\n')
        return "".join(lines)

    async def _cordon(self, words: list[str], flags: dict[str, str]) -> str:
        await self._schedulable(words[0], unschedulable=True)
        return f"node/{words[0]} cordoned\n"

    async def _uncordon(self, words: list[str], flags: dict[str, str]) -> str:
        await self._schedulable(words[0], unschedulable=False)
        return f"node/{words[0]} uncordoned\n"

    async def _schedulable(self, node: str, *, unschedulable: bool) -> None:
        body = {"spec": {"unschedulable": unschedulable or None}}
        path = _resource("node").path(name=node)
        await self._request("PATCH", path, body, content_type="application/merge-patch+json")

    async def _exec(self, pod: str, command: list[str]) -> tuple[int, str]:
        query = [("command", word) for word in command] + [("stdout", "true"), ("stderr", "true")]
        url = PODS.path("default", pod, "exec")
        output, status = b"", {}
        async with self._session.ws_connect(url, params=query, protocols=("v5.channel.k8s.io",)) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY and message.data[:1] in (b"\x01", b"\x02"):
                    output += message.data[1:]
                elif message.type is aiohttp.WSMsgType.BINARY and message.data[0] == _ERROR_CHANNEL:
                    status = json.loads(message.data[1:])
        causes = status.get("details", {}).get("causes", [])
        codes = [int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"]
        return (codes or [0 if status.get("status") == "Success" else 1])[0], output.decode(errors="replace")

    async def _until(self, path: str, satisfied: Callable[[Object], bool]) -> None:
        """Wait until an object satisfies, by a watch of it. Raises Refused after _WAIT_LIMIT_S."""
        collection, _, name = path.rpartition("/")
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}"}
        try:
            async with asyncio.timeout(_WAIT_LIMIT_S):
                async with self._session.get(collection, params=query) as response:
                    async for line in response.content:
                        if satisfied(json.loads(line)["object"]):
                            return
        except TimeoutError:
            pass
        raise Refused(f"timed out waiting for {path}")

    async def _request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Object:
        headers = {"Accept": accept, "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, params=query, data=data, headers=headers) as response:
            answer: Object = await response.json(content_type=None)
        if response.status >= 300:
            raise Refused(f"Error from server ({answer.get('reason')}): {answer.get('message')}")
        return answer


class StandInWatch:
    """A watch as table rows; entered once what was there has come."""

    def __init__(self, session: aiohttp.ClientSession, resource: Resource) -> None:
        self.lines: list[str] = []
        self._session = session
        self._path = resource.path("default")
        self._grown = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._response = await self._session.get(
            self._path, params={"watch": "true"}, headers={"Accept": TABLE}, timeout=aiohttp.ClientTimeout(total=None)
        )
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._group.create_task(self._read())
        await self.until(bool)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._response.close()
        await self._group.__aexit__(None, None, None)

    async def until(self, satisfied: Callable[[list[str]], bool]) -> bool:
        try:
            async with asyncio.timeout(_WAIT_LIMIT_S), self._grown:
                await self._grown.wait_for(lambda: satisfied(self.lines))
        except TimeoutError:
            return False
        return True

    async def _read(self) -> None:
        try:
            async for line in self._response.content:
                rows = json.loads(line)["object"]["rows"]
                async with self._grown:
                    self.lines += ["   ".join(str(cell) for cell in row["cells"]) for row in rows]
                    self._grown.notify_all()
        except aiohttp.ClientError:
            return  # closed by __aexit__


def _wanted(obj: Object) -> tuple[Any, Any]:
    """What a person asks of an object; the rest is the cluster's, and changes by itself."""
    return obj.get("spec"), obj["metadata"].get("labels")


def _documents(file: str) -> list[Object]:
    return list(yaml.safe_load_all(Path(file).read_text()))


def _split(args: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """kubectl's own words, whether there is a --, and the command after it."""
    words = list(args)
    if "--" not in words:
        return words, False, []
    at = words.index("--")
    return words[:at], True, words[at + 1 :]


def _flags(args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    flags: dict[str, str] = {}
    rest = iter(args)
    for word in rest:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            flags[name] = value
        elif word == "-w":
            flags[word] = ""
        elif word.startswith("-"):
            flags[word] = next(rest)
        else:
            words.append(word)
    return words, flags


def _resource(word: str) -> Resource:
    wanted = word.lower()
    for resource in RESOURCES:
        if wanted in (resource.singular, resource.plural, *resource.short_names):
            return resource
    raise Refused(f'the server doesn\'t have a resource type "{word}"')


def _kind(resource: Resource) -> str:
    return f"{resource.singular}.{resource.group}" if resource.group else resource.singular


def _table_text(table: Object, *, wide: bool) -> str:
    columns = [i for i, column in enumerate(table["columnDefinitions"]) if wide or not column["priority"]]
    rows = [[table["columnDefinitions"][i]["name"].upper() for i in columns]]
    rows += [[str(row["cells"][i]) for i in columns] for row in table["rows"] or ()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"
