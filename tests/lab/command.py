"""`fairway` as a user types it, in a state folder of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAIRWAY = str(Path(sys.executable).with_name("fairway"))
LIMIT_S = 120

Value = str | Callable[[str], bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Someone at a shell: a state folder, and another user id where the test is about one.

    uid: None for the one who runs the tests. command: how this one starts fairway.
    """

    state: Path
    uid: int | None = None
    command: Sequence[str] = (FAIRWAY,)

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "FAIRWAY_STATE_DIR": str(self.state), "HOME": str(self.state), "NO_COLOR": "1", **more}

    def run(self, argv: Sequence[str], *, stdin: str = "", **more: str) -> Answer:
        """Run a program to its end; its output is captured."""
        done = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            env=self.environment(**more),
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def fairway(self, *args: str, stdin: str = "", **more: str) -> Answer:
        return self.run([*self.command, *args], stdin=stdin, **more)

    def wait_for(self, kubeconfig: Path, namespace: str, what: str, path: str, value: Value) -> None:
        """Follow an object until a jsonpath of it is `value`, or anything for None; fails after LIMIT_S.

        value: or what tells whether it is.

        `kubectl wait --for=jsonpath` does so only since 1.23, and Debian 12 has 1.20.
        """
        is_it = value if callable(value) else lambda text: bool(text) if value is None else text == value
        follow = ["kubectl", "get", what, "-n", namespace, "-w", "-o", f'jsonpath={path}{{"\\n"}}']
        environment = self.environment(KUBECONFIG=str(kubeconfig))
        argv = ["timeout", str(LIMIT_S), *follow]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            seen = ""
            for line in process.stdout:
                seen = line.strip()
                if is_it(seen):
                    process.terminate()
                    return
        raise AssertionError(f"{what}: {path} is {seen!r}, not {value!r}")

    def start(self, *args: str, **more: str) -> subprocess.Popen[str]:
        """Start a command that the test will interrupt."""
        return subprocess.Popen(
            [*self.command, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(**more),
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
        )

    def start_on(self, terminal: int, *args: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command on a terminal: standard input, output and error."""
        return subprocess.Popen(
            [*self.command, *args],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=self.environment(**more),
            user=self.uid,
            group=self.uid,
            extra_groups=None if self.uid is None else [],
        )
