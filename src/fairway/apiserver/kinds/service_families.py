"""ipFamilies and ipFamilyPolicy of a Service: what the cluster fills in (`initIPFamilyFields` of the real server)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairway.api.resources import SERVICES
from fairway.api.status import Cause
from fairway.api.types import Object
from fairway.apiserver.kinds.service_spec import (
    IPV4,
    IPV6,
    NONE,
    cluster_ips,
    family_of,
    ip_families,
    is_headless,
    keeps_dual_stack,
    service_type,
    set_or_drop,
)
from fairway.apiserver.kinds.service_validation import validate_cluster_ips
from fairway.apiserver.strategy import invalid
from fairway.apiserver.validation.field import invalid_value

_OTHER = {IPV4: IPV6, IPV6: IPV4}
_POLICY = "spec.ipFamilyPolicy"


def fill_families(service: Object, old: Object | None, configured: Sequence[str]) -> None:
    """Fills the fields of `service` itself.

    old: the stored spec of an update. configured: the families the cluster has addresses of, the primary one first.
    Raises ApiError 422 where the fields contradict each other or the cluster.
    """
    spec, name = service["spec"], service["metadata"].get("name") or ""
    if service_type(spec) == "ExternalName" or (old is not None and keeps_dual_stack(spec, old)):
        return
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = _policy(spec, old)
    _refuse(name, validate_cluster_ips(spec))
    if old is not None and spec["ipFamilyPolicy"] == "SingleStack":
        _release_second(spec, old)
    _refuse(name, [*_reductions(spec, old), *_too_many(spec), *_infer(spec, configured)])
    if is_headless(spec) and not spec.get("selector"):
        _free_choice(spec, configured)
        return
    _refuse(name, [*_unknown_to_cluster(spec, configured)])
    families = ip_families(spec) or [configured[0]]
    if spec["ipFamilyPolicy"] != "SingleStack" and len(families) == 1 and len(configured) == 2:
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families


def _refuse(name: str, causes: Sequence[Cause]) -> None:
    if causes:
        raise invalid(SERVICES, name, causes)


def _policy(spec: Object, old: Object | None) -> str:
    """Never a silent change between one and two families."""
    if old is not None and old.get("ipFamilyPolicy"):
        return str(old["ipFamilyPolicy"])
    return "RequireDualStack" if is_headless(spec) and not spec.get("selector") else "SingleStack"


def _release_second(spec: Object, old: Object) -> None:
    """Asking for SingleStack says enough: the second address and family need not be removed by hand."""
    if cluster_ips(spec) == cluster_ips(old):
        set_or_drop(spec, "clusterIPs", cluster_ips(spec)[:1])
    if ip_families(spec) == ip_families(old):
        set_or_drop(spec, "ipFamilies", ip_families(spec)[:1])


def _reductions(spec: Object, old: Object | None) -> Iterator[Cause]:
    if old is None or spec["ipFamilyPolicy"] == "SingleStack":
        return
    for now, before, what in (
        (cluster_ips(spec), cluster_ips(old), "cluster IP"),
        (ip_families(spec), ip_families(old), "IP family"),
    ):
        if len(now) == 1 and len(before) == 2 and now[0] == before[0]:
            detail = f"must be 'SingleStack' to release the secondary {what}"
            yield invalid_value(_POLICY, spec["ipFamilyPolicy"], detail)


def _too_many(spec: Object) -> Iterator[Cause]:
    if spec["ipFamilyPolicy"] != "SingleStack":
        return
    for values, what in ((cluster_ips(spec), "cluster IPs"), (ip_families(spec), "IP families")):
        if len(values) == 2:
            detail = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            yield invalid_value(_POLICY, spec["ipFamilyPolicy"], detail)


def _infer(spec: Object, configured: Sequence[str]) -> list[Cause]:
    """Families that are not given follow from the addresses that are."""
    families, causes = ip_families(spec), []
    for index, ip in enumerate(cluster_ips(spec)):
        if ip == NONE:
            break
        if index < len(families):
            continue
        if family_of(ip) in configured:
            families.append(family_of(ip))
        else:
            detail = f"{family_of(ip)} is not configured on this cluster"
            causes.append(invalid_value(f"spec.clusterIPs[{index}]", cluster_ips(spec), detail))
    if not causes:
        set_or_drop(spec, "ipFamilies", families)
    return causes


def _free_choice(spec: Object, configured: Sequence[str]) -> None:
    """Headless without selector: its endpoints come from elsewhere, so any families are fine."""
    families = ip_families(spec) or [configured[0]]
    if len(families) < 2 and spec["ipFamilyPolicy"] != "SingleStack":
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families


def _unknown_to_cluster(spec: Object, configured: Sequence[str]) -> Iterator[Cause]:
    if spec["ipFamilyPolicy"] == "RequireDualStack" and len(configured) < 2:
        detail = "this cluster is not configured for dual-stack services"
        yield invalid_value(_POLICY, spec["ipFamilyPolicy"], detail)
    for index, family in enumerate(ip_families(spec)):
        if family not in configured:
            yield invalid_value(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
