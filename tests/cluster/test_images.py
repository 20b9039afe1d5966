"""What an image is mapped to is looked at before a lab is built, and what is wrong is told with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairway.base.errors import Refused
from fairway.cluster.images import check_image, from_options, split_option, together
from fairway.cluster.labfile import LabFile, read_lab_file
from fairway.cluster.labs import scenario_of
from fairway.cluster.layout import spell_out
from fairway.kubelet.images import MappedImage


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program, a folder, something that is neither, and the labs' own folder; the working directory."""
    monkeypatch.setenv("FAIRWAY_STATE_DIR", str(tmp_path / "labs"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labs").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name, mode in (("server", 0o755), ("usr", 0o755), ("notes.txt", 0o644)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    return tmp_path


@pytest.mark.parametrize("text", ["web", "web=", "=/srv/web", "="])
def test_an_option_is_a_name_and_a_path(text: str) -> None:
    with pytest.raises(
        Refused, match=r"^--image .*: write --image NAME=PATH, an image's name and a program or folder$"
    ):
        split_option(text)


def test_a_path_may_have_an_equals_sign() -> None:
    assert split_option("web:1=/srv/a=b") == ("web:1", "/srv/a=b")


def test_paths_of_options_are_of_the_working_directory(folder: Path) -> None:
    options = [("a", "server"), ("b", "./root/../root"), ("c", "/srv/web"), ("d", "~/root")]
    assert from_options(options) == {
        "a": f"{folder}/server",
        "b": f"{folder}/root",
        "c": "/srv/web",
        "d": f"{folder}/root",
    }


def test_an_image_has_one_path() -> None:
    with pytest.raises(Refused, match=r"^--image docker.io/library/web: the image is given twice; give it one path$"):
        from_options([("web", "/a"), ("docker.io/library/web", "/b")])
    assert from_options([("web", "/a"), ("web:1", "/b")]) == {"web": "/a", "web:1": "/b"}


def test_options_win_over_the_file() -> None:
    file = {"docker.io/library/web": "/file", "db": "/file"}
    assert together(file, {"web": "/told", "web:1": "/told"}) == {"db": "/file", "web": "/told", "web:1": "/told"}


@pytest.mark.parametrize(
    ("name", "path", "problem"),
    [
        ("web", "none", "--image web: {}/none is not there; give the path of a program or a folder of this machine"),
        ("web", "pipe", "--image web: {}/pipe is neither a program nor a folder"),
        ("web", "notes.txt", "--image web: {}/notes.txt is not executable: chmod +x {}/notes.txt"),
        ("web", "usr", "--image web: {}/usr would be /usr in its pods, which this machine has already; rename it"),
        (
            "web",
            "labs",
            "--image web: {}/labs holds the labs' own keys ({}/labs), or is among them; give another folder",
        ),
        ("web", ".", "--image web: {}/. holds the labs' own keys ({}/labs), or is among them; give another folder"),
        (
            "web",
            "alias",
            "--image web: {}/alias holds the labs' own keys ({}/labs), or is among them; give another folder",
        ),
        ("Web", "root", "--image Web: 'Web' is no name of an image; write it as a pod's `image`, such as shop/web:1.2"),
    ],
)
def test_what_cannot_be_an_image_is_refused_with_the_way_out(folder: Path, name: str, path: str, problem: str) -> None:
    with pytest.raises(Refused) as refused:
        check_image(name, f"{folder}/{path}", source=f"--image {name}", private=folder / "labs")
    assert str(refused.value) == problem.replace("{}", str(folder))


def test_a_program_and_a_folder_can(folder: Path) -> None:
    images = [
        check_image("web:1", f"{folder}/{path}", source="", private=folder / "labs") for path in ("server", "root")
    ]
    assert images == [
        MappedImage(name="web:1", path=f"{folder}/server", folder=False),
        MappedImage(name="web:1", path=f"{folder}/root", folder=True),
    ]


def test_a_lab_file_names_images_beside_itself(folder: Path) -> None:
    file = folder / "root" / "lab.yaml"
    file.write_text("nodes: 1\nimages:\n  shop/web: ../server\n  'shop/db:2': ../root\n")
    scenario = scenario_of(read_lab_file(file), source=str(file), images={"shop/db:2": f"{folder}/server"})
    assert scenario.images == (
        MappedImage(name="shop/web", path=f"{folder}/server", folder=False),
        MappedImage(name="shop/db:2", path=f"{folder}/server", folder=False),
    )
    assert dict(spell_out(scenario).images) == {image.name: image.path for image in scenario.images}


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        ("images: {web: server, db: none}", "{}/lab.yaml, line 2: images.db: {}/none is not there; "),
        ("images:\n  web: server\n  'db:1': none", "{}/lab.yaml, line 4: images.db:1: {}/none is not there; "),
        ('{"images": {\n"web":\n"none"}}', "{}/lab.yaml, line 2: images.web: {}/none is not there; "),
        (
            "images:\n  library/web: server\n  web: server",
            "{}/lab.yaml, line 4: images.web: the image is given twice; give it one path",
        ),
        ("images: {web: 3}", "{}/lab.yaml, line 2: images[...]: Expected a text, got a whole number"),
        ("images: [web]", "{}/lab.yaml, line 2: images: Expected a mapping, got a list"),
    ],
)
def test_what_is_wrong_in_a_lab_file_is_told_with_its_line(folder: Path, images: str, problem: str) -> None:
    file = folder / "lab.yaml"
    file.write_text(images if images.startswith("{") else f"nodes: 1\n{images}\n")
    with pytest.raises(Refused) as refused:
        scenario_of(read_lab_file(file), source=str(file))
    assert str(refused.value).startswith(problem.replace("{}", str(folder)))


def test_an_option_is_told_by_its_name_whatever_the_file(folder: Path) -> None:
    with pytest.raises(Refused, match=r"^--image web: /none is not there; "):
        scenario_of(LabFile(nodes=1), source="--nodes", images={"web": "/none"})


POD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers: [{name: first, image: busybox}]
  containers: [{name: web, image: "shop/web:2"}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: later}
spec: {template: {spec: {containers: [{name: web, image: "shop/other"}]}}}
"""


def test_a_pod_that_would_wait_for_its_image_is_refused_before_anything_is_made(folder: Path) -> None:
    """`up` waits for the pods of its manifests, and for nothing else in them."""
    (folder / "web.yaml").write_text(POD)
    file = folder / "lab.yaml"
    file.write_text("nodes: 1\nmanifests:\n  - web.yaml\n")
    with pytest.raises(Refused) as refused:
        scenario_of(read_lab_file(file), source=str(file))
    assert str(refused.value) == (
        f"{file}, line 3: manifests[0]: manifest {folder}/web.yaml: Pod default/web: a lab has no image shop/web:2; "
        "map it to a program or a folder of this machine: --image shop/web:2=PATH, or `images` in the lab file"
    )
    assert scenario_of(read_lab_file(file), source=str(file), images={"shop/web": f"{folder}/server"}).bare_pods


@pytest.mark.parametrize(
    "spec", ["", "x", "{containers: x}", "{containers: [x]}", "{containers: [{image: 3}, {image: Not An Image}]}"]
)
def test_what_no_server_would_take_is_left_to_it_to_say(folder: Path, spec: str) -> None:
    (folder / "web.yaml").write_text(f"{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {spec}}}")
    file = folder / "lab.yaml"
    file.write_text("nodes: 1\nmanifests: [web.yaml]\n")
    assert scenario_of(read_lab_file(file), source=str(file)).bare_pods == ("web",)
