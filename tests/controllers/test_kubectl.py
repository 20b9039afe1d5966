"""What the controllers do, as an unmodified kubectl shows it."""

from __future__ import annotations

from pathlib import Path

from tests.apiserver.serving import authority
from tests.controllers.managed import managed, until

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
