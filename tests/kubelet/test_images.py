"""Image names and what runs for them."""

from __future__ import annotations

import pytest

from fairway.kubelet.images import Image, lab_catalogue, parse_reference

CATALOGUE = lab_catalogue("/usr/bin/python3", "/programs/launch.py")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37", "docker.io/library/busybox:1.37"),
        ("mendhak/http-https-echo", "docker.io/mendhak/http-https-echo:latest"),
        ("docker.io/mendhak/http-https-echo:33", "docker.io/mendhak/http-https-echo:33"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("localhost/web", "localhost/web:latest"),
        ("localhost:5000/web:v1", "localhost:5000/web:v1"),
        ("web@sha256:" + "a" * 64, "docker.io/library/web@sha256:" + "a" * 64),
        ("web:v1@sha256:" + "a" * 64, "docker.io/library/web:v1@sha256:" + "a" * 64),
    ],
)
def test_a_name_is_completed_as_a_runtime_does(name: str, full: str) -> None:
    assert str(parse_reference(name)) == full


@pytest.mark.parametrize(
    "name", ["", "Web", "a b", "web:", "a//b", "/web", "web@sha256:short", "-web", "host.io/", "_"]
)
def test_what_is_no_image_name_is_none(name: str) -> None:
    assert parse_reference(name) is None


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("mendhak/http-https-echo:31", "echo"),
        ("ghcr.io/mendhak/http-https-echo", "echo"),
        ("traefik/whoami", "whoami"),
        ("nicolaka/netshoot:v0.13", "idle"),
        ("registry.k8s.io/pause:3.10", "idle"),
        ("busybox", "idle"),
    ],
)
def test_known_images_are_programs_with_any_tag(name: str, program: str) -> None:
    reference = parse_reference(name)
    assert reference is not None
    image = CATALOGUE.find(reference)

    assert image is not None
    assert image.program == program


def _known(name: str) -> Image:
    reference = parse_reference(name)
    assert reference is not None
    image = CATALOGUE.find(reference)
    assert image is not None
    return image


@pytest.mark.parametrize("name", ["nicolaka/netshoot", "busybox", "alpine", "debian", "ubuntu"])
def test_args_alone_are_the_program_of_an_image_without_entrypoint(name: str) -> None:
    """`kubectl run NAME --image=busybox -- PROGRAM ...` writes args and no command."""
    image = _known(name)

    assert image.argv((), ("echo", "hello")) == ("echo", "hello")
    assert image.argv((), ()) == image.cmd


def test_args_do_not_take_the_place_of_the_pause_program() -> None:
    image = _known("registry.k8s.io/pause")

    assert image.argv((), ("-v",)) == (*image.entrypoint, "-v")


@pytest.mark.parametrize("name", ["redis", "quay.io/mendhak/http-https-echo", "mendhak/http-https-echo-2", "pause"])
def test_others_are_not_known(name: str) -> None:
    reference = parse_reference(name)
    assert reference is not None
    assert CATALOGUE.find(reference) is None


def test_the_known_images_are_told_as_a_person_writes_them() -> None:
    assert CATALOGUE.known == (
        "mendhak/http-https-echo",
        "ghcr.io/mendhak/http-https-echo",
        "traefik/whoami",
        "registry.k8s.io/e2e-test-images/agnhost",
        "nginx",
        "registry.k8s.io/e2e-test-images/nginx",
        "httpd",
        "registry.k8s.io/e2e-test-images/httpd",
        "nicolaka/netshoot",
        "busybox",
        "registry.k8s.io/e2e-test-images/busybox",
        "alpine",
        "debian",
        "ubuntu",
        "registry.k8s.io/pause",
    )


@pytest.mark.parametrize(
    ("command", "args", "argv"),
    [
        ((), (), ("/entry", "cmd")),
        (("run",), (), ("run",)),
        ((), ("x", "y"), ("/entry", "x", "y")),
        (("run",), ("x",), ("run", "x")),
    ],
)
def test_command_replaces_the_entrypoint_and_args_the_cmd(
    command: tuple[str, ...], args: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    """Kubernetes' table "Define a Command and Arguments for a Container"."""
    image = Image(program="p", entrypoint=("/entry",), cmd=("cmd",))

    assert image.argv(command, args) == argv


@pytest.mark.parametrize(
    ("command", "args", "argv", "held"),
    [
        ((), (), ("/python", "pause"), True),
        ((), ("netexec",), ("/python", "netexec"), True),
        (("/agnhost", "netexec"), ("--http-port=80",), ("/python", "netexec", "--http-port=80"), True),
        (("sh", "-c", "x"), (), ("sh", "-c", "x"), False),
    ],
)
def test_a_command_may_name_the_images_own_program(
    command: tuple[str, ...], args: tuple[str, ...], argv: tuple[str, ...], held: bool
) -> None:
    image = Image(program="p", entrypoint=("/python",), cmd=("pause",), unblocks_sigterm=True, path="/agnhost")

    assert image.argv(command, args) == argv
    assert image.holds_sigterm(argv) is held
