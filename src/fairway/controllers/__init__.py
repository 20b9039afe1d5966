"""The controllers of a cluster: each a pure `reconcile(view) -> writes`, and one shell that watches and writes.

Pure: `deployment`, `replicaset`, `scheduler`, `endpointslice`, `endpoints`, `loadbalancer`, `garbage` decide; `wiring`
says which change calls which of them and cuts its view from the `cache`s; `queue` orders the work, `events` makes
Events. Shell: `manager` watches and runs workers, `writer` performs their writes. They speak only the Kubernetes API.
"""

from fairway.controllers.manager import ManagerConfig, run, run_async

__all__ = ["ManagerConfig", "run", "run_async"]
