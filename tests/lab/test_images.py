"""Images of a person's own: a program and a folder of the machine, told on the command line and in a lab file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fabric.folders import make_root
from tests.lab.command import User

pytestmark = pytest.mark.lab

SERVER = """#!/usr/bin/env python3
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = " ".join(sys.argv).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: web, image: "shop/web:7", args: ["80", "blue"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: files}
spec:
  containers:
    - {name: files, image: "shop/files:1", command: [sh, -c, "trap exit TERM; while :; do sleep 1; done"]}
---
apiVersion: v1
kind: Pod
metadata: {name: probe}
spec: {containers: [{name: probe, image: "registry.k8s.io/e2e-test-images/agnhost:2.63.0"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec: {containers: [{name: shell, image: busybox}]}
"""


@pytest.fixture(scope="module")
def shop(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[User, Path]]:
    """The lab, and the folder of its file."""
    folder = tmp_path_factory.mktemp("shop")
    folder.chmod(0o755)
    (folder / "server").write_text(SERVER)
    (folder / "server").chmod(0o755)
    (make_root(folder / "image", "sh", "cat", "ls", "sleep") / "page").write_text("from the folder\n")
    (folder / "pods.yaml").write_text(PODS)
    (folder / "lab.yaml").write_text("name: shop\nnodes: 1\nimages: {shop/web: server}\nmanifests: [pods.yaml]\n")
    options = ("-f", str(folder / "lab.yaml"), "--image", f"shop/files:1={folder / 'image'}")
    up = user.fairway("up", *options, "-o", "json")
    assert up.code == 0, up.err
    assert up.json()["images"] == {"shop/web": f"{folder}/server", "shop/files:1": f"{folder}/image"}
    yield user, folder
    down = user.fairway("down", "--name", "shop")
    assert down.code == 0, down.err


def kubectl(user: User, *args: str) -> tuple[int, str, str]:
    kubeconfig = user.fairway("kubeconfig", "--name", "shop").out.strip()
    done = user.run(["kubectl", *args], KUBECONFIG=kubeconfig)
    return done.code, done.out, done.err


def address(user: User, pod: str) -> str:
    return json.loads(kubectl(user, "get", "pod", pod, "-o", "json")[1])["status"]["podIP"]


def test_a_program_is_the_entrypoint_under_its_own_name(shop: tuple[User, Path]) -> None:
    user, _ = shop
    called = kubectl(user, "exec", "probe", "--", "curl", "-s", f"{address(user, 'web')}:80")
    assert called == (0, "/server 80 blue", "")


def test_a_folder_is_the_root_and_stays_as_it_is(shop: tuple[User, Path]) -> None:
    user, folder = shop
    script = "cat /page; ls /usr; cat /etc/hosts; echo x > /page"
    _, out, err = kubectl(user, "exec", "files", "--", "sh", "-c", script)
    assert out.startswith("from the folder\n# Kubernetes-managed hosts file.")
    assert f"{address(user, 'files')}\tfiles" in out
    assert "cannot create /page: Read-only file system" in err
    assert (folder / "image" / "page").read_text() == "from the folder\n"


def test_agnhost_is_a_file_in_its_own_image_alone(shop: tuple[User, Path]) -> None:
    user, _ = shop
    web = address(user, "web")
    assert kubectl(user, "exec", "probe", "--", "/agnhost", "connect", f"{web}:80", "--timeout=3s")[0] == 0
    code, out, err = kubectl(user, "exec", "probe", "--", "sh", "-c", f"/agnhost connect {web}:81 --timeout=3s")
    assert (code, out, err.splitlines()[0]) == (1, "", "REFUSED")
    assert "/agnhost" in kubectl(user, "exec", "shell", "--", "ls", "/agnhost")[2]


def test_status_tells_the_images(shop: tuple[User, Path]) -> None:
    user, folder = shop
    told = user.fairway("status", "--name", "shop", "-o", "json").json()
    assert told["images"] == {"shop/web": f"{folder}/server", "shop/files:1": f"{folder}/image"}
    assert f"image       shop/web = {folder}/server" in user.fairway("status", "--name", "shop").out


def test_an_image_that_is_nowhere_says_how_to_map_it(shop: tuple[User, Path]) -> None:
    user, _ = shop
    kubectl(user, "run", "lost", "--image", "shop/files:2")
    kubeconfig = Path(user.fairway("kubeconfig", "--name", "shop").out.strip())
    reason = "{.status.containerStatuses[0].state.waiting.reason}"
    user.wait_for(kubeconfig, "default", "pod/lost", reason, "ImagePullBackOff")
    _, events, _ = kubectl(user, "get", "events", "--field-selector", "involvedObject.name=lost", "-o", "json")
    messages = [event["message"] for event in json.loads(events)["items"]]
    assert [message for message in messages if "fairway up --image shop/files:2=PATH" in message]
    assert 'Back-off pulling image "shop/files:2"' in messages


def test_a_path_that_is_gone_by_then_is_named(shop: tuple[User, Path]) -> None:
    user, folder = shop
    (folder / "server").rename(folder / "moved")
    try:
        kubectl(user, "run", "late", "--image", "shop/web", "--restart=Never")
        kubeconfig = Path(user.fairway("kubeconfig", "--name", "shop").out.strip())
        path = "{.status.containerStatuses[0].state.terminated.message}"
        text = f"failed to start container 'late': host late: {folder}/server: No such file or directory"
        user.wait_for(kubeconfig, "default", "pod/late", path, text)
    finally:
        (folder / "moved").rename(folder / "server")


def test_nothing_is_built_for_an_image_that_cannot_be(user: User, tmp_path: Path) -> None:
    refused = user.fairway("up", "--name", "none", "--image", f"shop/web={tmp_path}/none")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        f"fairway: --image shop/web: {tmp_path}/none is not there; give the path of a program or a folder of this "
        "machine\n"
    )
    assert "there is no lab 'none'" in user.fairway("status", "--name", "none").err
