"""Image names and what runs for them."""

from __future__ import annotations

import pytest

from fairway.fabric.protocol import ContainerRoot
from fairway.kubelet.images import Image, MappedImage, Reference, lab_catalogue, parse_reference

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
        (("/agnhost", "netexec"), ("--http-port=80",), ("/agnhost", "netexec", "--http-port=80"), True),
        (("sh", "-c", "x"), (), ("sh", "-c", "x"), False),
    ],
)
def test_a_command_may_name_the_images_own_program(
    command: tuple[str, ...], args: tuple[str, ...], argv: tuple[str, ...], held: bool
) -> None:
    image = Image(program="p", entrypoint=("/python",), cmd=("pause",), unblocks_sigterm=True, path="/agnhost")

    assert image.argv(command, args) == argv
    assert image.holds_sigterm(argv) is held


def test_agnhost_is_a_file_of_its_image_and_of_no_other() -> None:
    """So that `sh -c "/agnhost connect ..."` finds it, whatever blanks the paths of this installation have."""
    image = _known("registry.k8s.io/e2e-test-images/agnhost:2.63.0")

    assert image.root is not None
    assert dict(image.root.scripts) == {
        "agnhost": '#!/bin/sh\nexec /usr/bin/python3 -I -S /programs/launch.py agnhost "$@"\n'
    }
    assert [name for name in CATALOGUE.known if _known(name).root] == ["registry.k8s.io/e2e-test-images/agnhost"]


DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("mapped", "image", "path"),
    [
        ({"shop/web": "/a"}, "shop/web:1.2", "/a"),
        ({"shop/web": "/a"}, "docker.io/shop/web", "/a"),
        ({"shop/web": "/a"}, f"shop/web@{DIGEST}", "/a"),
        ({"shop/web:1": "/a"}, "shop/web:1", "/a"),
        ({"shop/web:latest": "/a"}, "shop/web", "/a"),
        ({"shop/web:1": "/a"}, "shop/web:2", None),
        ({"shop/web:1": "/a"}, "shop/web", None),
        ({"shop/web:1": "/a"}, f"shop/web:1@{DIGEST}", "/a"),
        ({f"shop/web@{DIGEST}": "/a"}, f"shop/web@{DIGEST}", "/a"),
        ({f"shop/web@{DIGEST}": "/a"}, "shop/web:1", None),
        ({"shop/web": "/any", "shop/web:1": "/one"}, "shop/web:1", "/one"),
        ({"shop/web": "/any", "shop/web:1": "/one"}, "shop/web:2", "/any"),
        ({"web": "/a"}, "quay.io/library/web", None),
    ],
)
def test_a_mapped_image_is_found_by_its_name(mapped: dict[str, str], image: str, path: str | None) -> None:
    catalogue = lab_catalogue(mapped=[MappedImage(name=name, path=each, folder=True) for name, each in mapped.items()])
    reference = parse_reference(image)
    assert reference is not None
    found = catalogue.find(reference)

    assert (found.program if found else None) == path


def test_a_mapped_image_comes_before_a_built_in_one() -> None:
    catalogue = lab_catalogue(mapped=[MappedImage(name="nginx:1.27", path="/opt/nginx", folder=False)])
    mine, builtin = (catalogue.find(Reference(repository="docker.io/library/nginx", tag=tag)) for tag in ("1.27", "1"))

    assert mine is not None
    assert mine.argv((), ("-g", "x")) == ("/nginx", "-g", "x")
    assert mine.root == ContainerRoot(programs={"nginx": "/opt/nginx"})
    assert builtin is not None
    assert builtin.program == "site"
    assert catalogue.known[:2] == ("nginx:1.27", "mendhak/http-https-echo")


def test_a_folder_has_no_entrypoint() -> None:
    image = MappedImage(name="web", path="/srv/web", folder=True).image

    assert (image.argv((), ()), image.argv(("run",), ("x",))) == ((), ("run", "x"))
    assert image.root == ContainerRoot(folder="/srv/web")
