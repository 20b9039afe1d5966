"""The end of a pod in the API."""

from __future__ import annotations

import asyncio
import logging

from fairway.api.resources import PODS
from fairway.api.status import ApiError
from fairway.base.errors import Retry
from fairway.kubelet.pod import PodSpec
from fairway.watch.client import Client

_RETRY_S = 1.0

_log = logging.getLogger(__name__)


async def delete_from_api(client: Client, pod: PodSpec) -> None:
    """Take the pod out of the API, however long that takes; whoever else did so is as good."""
    while True:
        try:
            await client.delete(PODS, pod.key.name, pod.key.namespace, grace_period_s=0, uid=pod.uid)
            return
        except ApiError as error:
            if error.code in (404, 409):
                return
            _log.warning("deleting pod %s: %s; trying again", pod.key, error)
            await asyncio.sleep(_RETRY_S)
        except Retry as error:
            await asyncio.sleep(error.after_s)
