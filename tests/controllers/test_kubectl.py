"""What the controllers do, as an unmodified kubectl shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.apiserver.serving import authority
from tests.controllers.managed import managed, until

MIRRORING = "endpointslicemirroring-controller.k8s.io"
OUTSIDE = """\
apiVersion: v1
kind: Service
metadata:
  name: db
spec:
  ports:
  - port: 5432
---
apiVersion: v1
kind: Endpoints
metadata:
  name: db
subsets:
- addresses:
  - ip: 172.18.0.9
  - ip: fd00::9
  ports:
  - port: 5432
"""
BY_HAND = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: db-by-hand
  labels:
    kubernetes.io/service-name: db
    endpointslice.kubernetes.io/managed-by: staff
addressType: IPv4
endpoints:
- addresses: [172.18.0.10]
ports:
- name: ""
  port: 5432
"""
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

# Namespaces


async def test_every_namespace_has_its_service_account_and_the_clusters_certificate(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "namespace", "shop")
        for namespace in ("default", "kube-system", "shop"):
            accounts, maps = (f"/api/v1/namespaces/{namespace}/{one}" for one in ("serviceaccounts", "configmaps"))
            await until(api, accounts, lambda found: "default" in found)
            found = await until(api, maps, lambda found: "kube-root-ca.crt" in found)
            assert found["kube-root-ca.crt"]["data"]["ca.crt"] == authority().certificate.decode()
        said = await api.kubectl("delete", "sa/default", "cm/kube-root-ca.crt", "-n", "shop")
        assert said == 'serviceaccount "default" deleted\nconfigmap "kube-root-ca.crt" deleted\n'
        await until(api, "/api/v1/namespaces/shop/serviceaccounts", lambda found: "default" in found)
        await until(api, "/api/v1/namespaces/shop/configmaps", lambda found: "kube-root-ca.crt" in found)
        assert (await api.kubectl("get", "sa", "-n", "shop", "--no-headers")).split()[0] == "default"


async def test_a_namespace_goes_with_all_in_it_and_kubectl_waits_for_that(tmp_path: Path) -> None:
    async with managed(tmp_path) as api:
        await api.kubectl("create", "namespace", "shop")
        await api.kubectl("create", "deployment", "web", "--image=nginx", "-n", "shop")
        await api.kubectl("create", "service", "clusterip", "web", "--tcp=80", "-n", "shop")
        await api.kubectl("create", "configmap", "held", "-n", "shop")
        await api.kubectl("patch", "cm/held", "-n", "shop", "-p", '{"metadata":{"finalizers":["example.com/one"]}}')
        await until(api, "/api/v1/namespaces/shop/pods", len)
        await api.kubectl("delete", "namespace", "shop", "--wait=false")
        message = "Some resources are remaining: configmaps. has 1 resource instances"
        namespaces = await until(api, "/api/v1/namespaces", lambda found: message in str(found["shop"]["status"]))
        assert namespaces["shop"]["status"]["phase"] == "Terminating"
        assert message in await api.kubectl("describe", "namespace", "shop")
        refused = await api.kubectl("create", "configmap", "late", "-n", "shop", ok=False)
        assert "unable to create new content in namespace shop because it is being terminated" in refused
        await api.kubectl("patch", "cm/held", "-n", "shop", "-p", '{"metadata":{"finalizers":null}}')
        await until(api, "/api/v1/namespaces", lambda found: "shop" not in found)
        for path in ("/api/v1/pods", "/api/v1/configmaps", "/apis/apps/v1/deployments", "/api/v1/endpoints"):
            _, listed = await api.call("GET", path)
            assert [one for one in listed["items"] if one["metadata"]["namespace"] == "shop"] == [], path
        await api.kubectl("create", "namespace", "shop")
        assert await api.kubectl("delete", "namespace", "shop") == 'namespace "shop" deleted\n'
        assert 'namespaces "shop" not found' in await api.kubectl("get", "namespace", "shop", ok=False)


# Endpoints by hand


async def test_endpoints_by_hand_are_mirrored_and_slices_by_hand_are_left_alone(tmp_path: Path) -> None:
    def of_db(found: dict[str, Any]) -> list[str]:
        """Managed by whom, with which addresses."""
        told = (
            (one["metadata"]["labels"], [address for each in one["endpoints"] for address in each["addresses"]])
            for name, one in found.items()
            if name.startswith("db")
        )
        return sorted(
            f"{labels['endpointslice.kubernetes.io/managed-by']} {' '.join(addresses)}" for labels, addresses in told
        )

    by_hand = "staff 172.18.0.10"
    async with managed(tmp_path) as api:
        await api.kubectl("apply", "-f", "-", stdin=f"{OUTSIDE}---\n{BY_HAND}")
        both = [f"{MIRRORING} 172.18.0.9", f"{MIRRORING} fd00::9", by_hand]
        await until(api, SLICES, lambda found: of_db(found) == both)
        await api.kubectl("apply", "-f", "-", stdin=OUTSIDE.replace("  - ip: fd00::9\n", ""))
        await until(api, SLICES, lambda found: of_db(found) == [both[0], by_hand])
        await api.kubectl("label", "endpoints", "db", "endpointslice.kubernetes.io/skip-mirror=true")
        await until(api, SLICES, lambda found: of_db(found) == [by_hand])
        await api.kubectl("label", "endpoints", "db", "endpointslice.kubernetes.io/skip-mirror-")
        await until(api, SLICES, lambda found: of_db(found) == [both[0], by_hand])
        await api.kubectl("patch", "svc", "db", "-p", '{"spec":{"selector":{"app":"db"}}}')
        selecting = ["endpointslice-controller.k8s.io ", by_hand]
        await until(api, SLICES, lambda found: of_db(found) == selecting)
        await api.kubectl("delete", "svc", "db")
        found = await until(api, SLICES, lambda found: of_db(found) == [by_hand])
        assert found["db-by-hand"]["metadata"]["generation"] == 1, "nobody but its author has written it"
        assert MIRRORING not in await api.kubectl("get", "endpointslices", "-A", "-o", "yaml")
