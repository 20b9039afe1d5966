"""The controllers of a cluster: each a pure `reconcile(view) -> writes`, and one shell that watches and writes.

Pure: `deployment`, `replicaset`, `daemonset` (with `daemonset_revisions`), `scheduler` (with `node_filters`,
`node_scores` and `preemption`), `node_lifecycle` (with `tenure`), `pod_garbage`, `endpointslice`,
`endpointslice_mirroring`, `endpoints`, `loadbalancer`, `namespaces`, `garbage`
decide; a `controller` is one of them with its `wiring`: which change gives it what to do, and its view of the `cache`s;
`queue` orders the work, `events` makes Events. Shell: `manager` watches and runs workers, `writer` performs their
writes. They speak only the Kubernetes API.
"""

from fairway.controllers.manager import ManagerConfig, run, run_async

__all__ = ["ManagerConfig", "run", "run_async"]
