"""A DaemonSet in a lab, as kubectl shows it."""

from __future__ import annotations

import pytest

from tests.lab.command import User
from tests.lab.conftest import kubectl, until

pytestmark = pytest.mark.lab

MANIFEST = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: traefik/whoami}]
"""
NODES = "jsonpath={range .items[*]}{.spec.nodeName} {end}"
WORKERS = ["myk8s-worker", "myk8s-worker2", "myk8s-worker3"]


def test_a_pod_on_each_node_that_can_have_it_also_after_an_update(lab: User) -> None:
    kubectl(lab, "apply", "-f", "-", stdin=MANIFEST)
    try:
        rolled = kubectl(lab, "rollout", "status", "daemonset/everywhere", "--timeout=60s")
        assert rolled.endswith('daemon set "everywhere" successfully rolled out\n')
        assert sorted(kubectl(lab, "get", "pods", "-l", "app=everywhere", "-o", NODES).split()) == WORKERS
        shown = kubectl(lab, "get", "ds", "everywhere", "--no-headers").split()
        assert shown[:7] == ["everywhere", "3", "3", "3", "3", "3", "<none>"]

        kubectl(lab, "rollout", "restart", "daemonset/everywhere")
        kubectl(lab, "rollout", "status", "daemonset/everywhere", "--timeout=60s")
        undone = kubectl(lab, "rollout", "undo", "daemonset/everywhere")
        assert undone == "daemonset.apps/everywhere rolled back\n"
        kubectl(lab, "rollout", "status", "daemonset/everywhere", "--timeout=60s")
        history = kubectl(lab, "rollout", "history", "daemonset/everywhere").split("CHANGE-CAUSE")[1]
        assert history.split() == ["2", "<none>", "3", "<none>"]
        kubectl(lab, "label", "node", "myk8s-worker2", "daemons=none")
        choosing = '{"spec":{"template":{"spec":{"nodeSelector":{"daemons":"none"}}}}}'
        kubectl(lab, "patch", "ds", "everywhere", "-p", choosing)
        until(lab, "ds/everywhere", "{.status.desiredNumberScheduled}", "1")
        kubectl(lab, "rollout", "status", "daemonset/everywhere", "--timeout=60s")
        described = kubectl(lab, "describe", "ds", "everywhere")
        assert "Desired Number of Nodes Scheduled: 1\n" in described
        assert "SuccessfulCreate" in described
    finally:
        kubectl(lab, "label", "node", "myk8s-worker2", "daemons-")
        kubectl(lab, "delete", "ds", "everywhere", "--timeout=60s")
