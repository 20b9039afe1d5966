"""The images this lab knows: names of programs, since there is nothing to pull and nothing to unpack.

A container of a known image runs the program given here; `command` and `args` of its spec replace entrypoint and cmd
as in Kubernetes, and then name programs of the host.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

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


def parse_reference(name: str) -> Reference | None:
    """The full name of what a pod's `image` says: "busybox" is docker.io/library/busybox:latest.

    None when it is no image name at all (upper case, blanks, empty parts).
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
    tag = match["tag"] or ("" if digest else "latest")
    return Reference(repository=f"{registry}/{path}", tag=tag, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A program that stands for an image.

    entrypoint and cmd: as of a Dockerfile. workdir: where it starts. unblocks_sigterm: it may be started with SIGTERM
    blocked, so that one that comes before its handler is not lost. path: where the image has its entrypoint; a command
    that names it is this program too.
    """

    program: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    unblocks_sigterm: bool = False
    path: str = ""

    def argv(self, command: tuple[str, ...], args: tuple[str, ...]) -> tuple[str, ...]:
        """What runs, after Kubernetes' table of command and args: a command drops the image's cmd as well."""
        if command:
            return self.resolved(command + args)
        return self.entrypoint + (args or self.cmd)

    def resolved(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """A command line with the program that stands for the image's own, where it names that."""
        return self.entrypoint + argv[1:] if self.path and argv[0] == self.path else argv

    def holds_sigterm(self, argv: tuple[str, ...]) -> bool:
        """Whether what runs lets a blocked SIGTERM in again: the image's own program."""
        return self.unblocks_sigterm and argv[: len(self.entrypoint)] == self.entrypoint


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

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = dict(images)

    def find(self, reference: Reference) -> Image | None:
        """Any tag and any digest of a known repository is that image."""
        return self._images.get(reference.repository)

    @property
    def known(self) -> tuple[str, ...]:
        """The names a person would write, in the order of this file."""
        return tuple(
            repository.removeprefix(f"{DEFAULT_REGISTRY}/").removeprefix(_OFFICIAL_PREFIX)
            for repository in self._images
        )


def lab_catalogue(
    interpreter: str = sys.executable, launcher: str = f"{__file__.rpartition('/')[0]}/programs/launch.py"
) -> Catalogue:
    """The lab's images.

    interpreter: path of the Python that runs the programs; launcher: path of `programs.launch`.
    `-I -S` leave out the user's environment and the site packages: a quarter of the start-up time, half the memory.
    """

    def python(name: str, *arguments: str, cmd: tuple[str, ...] = (), path: str = "") -> Image:
        entrypoint = (interpreter, "-I", "-S", launcher, name, *arguments)
        return Image(program=name, entrypoint=entrypoint, cmd=cmd, unblocks_sigterm=True, path=path)

    images = dict.fromkeys(_ECHO_REPOSITORIES, python("echo"))
    images |= dict.fromkeys(_WHOAMI_REPOSITORIES, python("whoami"))
    images |= dict.fromkeys(_AGNHOST_REPOSITORIES, python("agnhost", cmd=("pause",), path="/agnhost"))
    images |= dict.fromkeys(_NGINX_REPOSITORIES, python("site", "nginx"))
    images |= dict.fromkeys(_HTTPD_REPOSITORIES, python("site", "httpd"))
    images |= dict.fromkeys(_SHELL_REPOSITORIES, _SHELL)
    images |= dict.fromkeys(_PAUSE_REPOSITORIES, _PAUSE)
    return Catalogue(images)
