"""One lab for all tests that only look at it, and users who bring up their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import User, Value


@pytest.fixture(scope="session")
def user() -> Iterator[User]:
    with tempfile.TemporaryDirectory(prefix="fairway-test-") as folder:
        yield User(state=Path(folder))


@pytest.fixture(scope="session")
def lab(user: User) -> Iterator[User]:
    """A user whose lab `myk8s` is up, with the study's objects applied."""
    up = user.fairway("up")
    assert up.code == 0, up.err
    try:
        study = "src/fairway/cluster/study"
        applied = kubectl(user, "apply", "-f", f"{study}/echo-deploy.yaml,{study}/svc-nodeport.yaml")
        assert applied.endswith("service/svc-nodeport created\n"), applied
        kubectl(user, "rollout", "status", "deployment/deploy-echo", "--timeout=60s")
        yield user
    finally:
        assert user.fairway("down").code == 0


def kubectl(user: User, *args: str, stdin: str = "") -> str:
    """kubectl's output, standard error included where it fails."""
    config = user.state / "myk8s" / "kubeconfig"
    answer = user.run(["kubectl", *args], stdin=stdin, KUBECONFIG=str(config))
    return answer.out if answer.code == 0 else answer.out + answer.err


def until(user: User, what: str, path: str, value: Value, *, namespace: str = "default") -> None:
    """Wait for what a jsonpath tells of an object, as `User.wait_for`."""
    user.wait_for(user.state / "myk8s" / "kubeconfig", namespace, what, path, value)
