"""The images this lab knows: names of programs, since there is nothing to pull and nothing to unpack.

A container of a known image runs the program given here; `command` and `args` of its spec replace entrypoint and cmd
as in Kubernetes, and then name programs of the host, or of the folder that a mapped image has as its root.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fairway.fabric.protocol import ContainerRoot

DEFAULT_REGISTRY = "docker.io"
_OFFICIAL_PREFIX = "library/"

# Grammar of distribution/reference `reference.go`: domain, path components, tag and digest.
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REMAINDER = re.compile(
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image's name in full, as a container runtime reports it."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(name: str, *, default_tag: str = "latest") -> Reference | None:
    """The full name of what a pod's `image` says: "busybox" is docker.io/library/busybox:latest.

    default_tag: of a name that has neither tag nor digest. None when it is no image name at all (upper case, blanks,
    empty parts).
    """
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, remainder = first.replace("index.docker.io", DEFAULT_REGISTRY), rest
    else:
        registry, remainder = DEFAULT_REGISTRY, name
    match = _REMAINDER.fullmatch(remainder)
    if match is None or not _DOMAIN.fullmatch(registry):
        return None
    path, digest = match["path"], match["digest"] or ""
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = _OFFICIAL_PREFIX + path
    tag = match["tag"] or ("" if digest else default_tag)
    return Reference(repository=f"{registry}/{path}", tag=tag, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A program that stands for an image.

    entrypoint and cmd: as of a Dockerfile. workdir: where it starts. unblocks_sigterm: it may be started with SIGTERM
    blocked, so that one that comes before its handler is not lost. path: where the image has the same program as a
    file. root: what its containers have at /, None for what their host has.
    """

    program: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    unblocks_sigterm: bool = False
    path: str = ""
    root: ContainerRoot | None = None

    def argv(self, command: tuple[str, ...], args: tuple[str, ...]) -> tuple[str, ...]:
        """What runs, after Kubernetes' table of command and args: a command drops the image's cmd as well."""
        if command:
            return command + args
        return self.entrypoint + (args or self.cmd)

    def holds_sigterm(self, argv: tuple[str, ...]) -> bool:
        """Whether what runs lets a blocked SIGTERM in again: the image's own program."""
        own = argv[: len(self.entrypoint)] == self.entrypoint or argv[:1] == (self.path,)
        return self.unblocks_sigterm and own


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedImage:
    """An image's name that stands for software of the machine.

    name: as a person wrote it, an image name; without tag and digest it is the image with any. path: absolute, of a
    program, or of a folder (`folder`) that becomes the root of the image's containers.
    """

    name: str
    path: str
    folder: bool

    @property
    def reference(self) -> Reference:
        """With no tag where none was written."""
        reference = parse_reference(self.name, default_tag="")
        assert reference is not None
        return reference

    def stands_for(self, wanted: Reference) -> bool:
        own = self.reference
        return own.repository == wanted.repository and own.tag in ("", wanted.tag) and own.digest in ("", wanted.digest)

    @property
    def image(self) -> Image:
        """A program is in the container's root under its own name; a folder has no entrypoint."""
        if self.folder:
            return Image(program=self.path, entrypoint=(), root=ContainerRoot(folder=self.path))
        name = self.path.rpartition("/")[2]
        return Image(program=self.path, entrypoint=(f"/{name}",), root=ContainerRoot(programs={name: self.path}))


# The first process of a pid namespace gets no default action for SIGTERM, so the signal needs a handler.
_IDLE = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; sleep infinity & wait")
_PAUSE = Image(program="idle", entrypoint=_IDLE)
# These have a cmd and no entrypoint, so that a pod's args alone name the program.
_SHELL = Image(program="idle", entrypoint=(), cmd=_IDLE)
_SHELL_REPOSITORIES = (
    "docker.io/nicolaka/netshoot",
    "docker.io/library/busybox",
    "registry.k8s.io/e2e-test-images/busybox",
    "docker.io/library/alpine",
    "docker.io/library/debian",
    "docker.io/library/ubuntu",
)
_AGNHOST_REPOSITORIES = ("registry.k8s.io/e2e-test-images/agnhost",)
_NGINX_REPOSITORIES = ("docker.io/library/nginx", "registry.k8s.io/e2e-test-images/nginx")
_HTTPD_REPOSITORIES = ("docker.io/library/httpd", "registry.k8s.io/e2e-test-images/httpd")
_PAUSE_REPOSITORIES = ("registry.k8s.io/pause",)
_ECHO_REPOSITORIES = ("docker.io/mendhak/http-https-echo", "ghcr.io/mendhak/http-https-echo")
_WHOAMI_REPOSITORIES = ("docker.io/traefik/whoami",)


class Catalogue:
    """Which image is which program."""

    def __init__(self, images: Mapping[str, Image], mapped: Sequence[MappedImage] = ()) -> None:
        """images: by repository. mapped: those that come before these."""
        self._images = dict(images)
        # One with a tag or digest is meant before one without.
        self._mapped = sorted(mapped, key=lambda each: (not each.reference.digest, not each.reference.tag))

    def find(self, reference: Reference) -> Image | None:
        """Any tag and any digest of a known repository is that image, unless a mapped one says which."""
        for each in self._mapped:
            if each.stands_for(reference):
                return each.image
        return self._images.get(reference.repository)

    @property
    def known(self) -> tuple[str, ...]:
        """The names a person would write: the mapped ones, then those of this file in its order."""
        names = (*(each.name for each in self._mapped), *map(_short, self._images))
        return tuple(dict.fromkeys(names))


def _short(repository: str) -> str:
    return repository.removeprefix(f"{DEFAULT_REGISTRY}/").removeprefix(_OFFICIAL_PREFIX)


def lab_catalogue(
    interpreter: str = sys.executable,
    launcher: str = f"{__file__.rpartition('/')[0]}/programs/launch.py",
    *,
    mapped: Sequence[MappedImage] = (),
) -> Catalogue:
    """The lab's images.

    interpreter: path of the Python that runs the programs; launcher: path of `programs.launch`. mapped: what the lab's
    user has mapped.
    `-I -S` leave out the user's environment and the site packages: a quarter of the start-up time, half the memory.
    """

    def python(name: str, *arguments: str, cmd: tuple[str, ...] = (), file: str = "") -> Image:
        """file: its name below / of the image, where it is one that people call by it."""
        entrypoint = (interpreter, "-I", "-S", launcher, name, *arguments)
        if not file:
            return Image(program=name, entrypoint=entrypoint, cmd=cmd, unblocks_sigterm=True)
        root = ContainerRoot(scripts={file: f'#!/bin/sh\nexec {shlex.join(entrypoint)} "$@"\n'})
        return Image(program=name, entrypoint=entrypoint, cmd=cmd, unblocks_sigterm=True, path=f"/{file}", root=root)

    images = dict.fromkeys(_ECHO_REPOSITORIES, python("echo"))
    images |= dict.fromkeys(_WHOAMI_REPOSITORIES, python("whoami"))
    images |= dict.fromkeys(_AGNHOST_REPOSITORIES, python("agnhost", cmd=("pause",), file="agnhost"))
    images |= dict.fromkeys(_NGINX_REPOSITORIES, python("site", "nginx"))
    images |= dict.fromkeys(_HTTPD_REPOSITORIES, python("site", "httpd"))
    images |= dict.fromkeys(_SHELL_REPOSITORIES, _SHELL)
    images |= dict.fromkeys(_PAUSE_REPOSITORIES, _PAUSE)
    return Catalogue(images, mapped)
