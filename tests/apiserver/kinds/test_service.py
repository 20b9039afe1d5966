"""Services beside what the recorded exchanges show."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from fairway.api.resources import SERVICES
from fairway.apiserver.kinds import strategy_for
from fairway.apiserver.kinds.service import drop_type_dependent_fields
from tests.apiserver.kinds.support import change, new, texts, wrong, wrong_change

PORT = {"port": 80, "protocol": "TCP", "targetPort": 80}


def service(**spec: Any) -> dict[str, Any]:
    return {"spec": {"ports": [{"port": 80}], **spec}}


def allocated(**spec: Any) -> dict[str, Any]:
    """A Service as it is stored: with an address."""
    given = {"clusterIP": "10.200.1.9", "clusterIPs": ["10.200.1.9"], "ipFamilies": ["IPv4"]}
    return new(SERVICES, service(**{**given, "ipFamilyPolicy": "SingleStack", **spec}))


class TestDefaults:
    @pytest.mark.parametrize(
        ("spec", "external", "internal"),
        [
            ({}, None, "Cluster"),
            ({"type": "NodePort"}, "Cluster", "Cluster"),
            ({"type": "LoadBalancer"}, "Cluster", "Cluster"),
            ({"externalIPs": ["192.0.2.1"]}, "Cluster", "Cluster"),
            ({"type": "NodePort", "externalTrafficPolicy": "Local"}, "Local", "Cluster"),
            ({"type": "ExternalName", "externalName": "a.b"}, None, None),
        ],
    )
    def test_policies_depend_on_the_type(self, spec: Any, external: str | None, internal: str | None) -> None:
        made = new(SERVICES, service(**spec))["spec"]
        assert (made.get("externalTrafficPolicy"), made.get("internalTrafficPolicy")) == (external, internal)

    def test_a_named_target_port_stays(self) -> None:
        assert new(SERVICES, service(ports=[{"port": 80, "targetPort": "http"}]))["spec"]["ports"] == [
            {"port": 80, "protocol": "TCP", "targetPort": "http"}
        ]

    def test_affinity_lasts_three_hours(self) -> None:
        made = new(SERVICES, service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {}}))["spec"]
        assert made["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}

    def test_a_load_balancers_address_is_a_vip(self) -> None:
        status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "a.b"}]}}
        old = allocated(type="LoadBalancer")
        made = change(SERVICES, old, {"status": status}, "status")
        assert made["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "a.b"}]


class TestValidation:
    @pytest.mark.parametrize(
        ("spec", "found"),
        [
            ({}, []),
            ({"clusterIP": "None", "clusterIPs": ["None"], "ports": []}, []),
            ({"trafficDistribution": "PreferSameNode"}, []),
            (
                {"trafficDistribution": "Near"},
                [
                    (
                        'spec.trafficDistribution: Unsupported value: "Near": supported values: '
                        '"PreferClose", "PreferSameNode", "PreferSameZone"'
                    )
                ],
            ),
            (
                {"internalTrafficPolicy": "Here"},
                ['spec.internalTrafficPolicy: Unsupported value: "Here": supported values: "Cluster", "Local"'],
            ),
            (
                {"externalTrafficPolicy": "Local"},
                [
                    (
                        'spec.externalTrafficPolicy: Invalid value: "Local": '
                        "may only be set for externally-accessible services"
                    )
                ],
            ),
            (
                {"type": "NodePort", "externalTrafficPolicy": "Global"},
                ['spec.externalTrafficPolicy: Unsupported value: "Global": supported values: "Cluster", "Local"'],
            ),
            (
                {"type": "NodePort", "healthCheckNodePort": 30000},
                [
                    (
                        "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' "
                        "and `externalTrafficPolicy` is 'Local'"
                    )
                ],
            ),
            (
                {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
                ["spec.healthCheckNodePort: Required value"],
            ),
            (
                {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
                ["spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"],
            ),
            ({"type": "LoadBalancer", "loadBalancerSourceRanges": [" 10.0.0.0/8 "]}, []),
            (
                {"type": "LoadBalancer", "loadBalancerSourceRanges": ["ten"]},
                [
                    (
                        'spec.loadBalancerSourceRanges[0]: Invalid value: "ten": '
                        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
                    )
                ],
            ),
            (
                {"allocateLoadBalancerNodePorts": False, "loadBalancerClass": "a.b/c"},
                [
                    "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
                    "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
                ],
            ),
            (
                {
                    "type": "NodePort",
                    "ports": [{"name": n, "port": p, "nodePort": 30000} for n, p in (("a", 1), ("b", 2))],
                },
                ["spec.ports[1].nodePort: Duplicate value: 30000"],
            ),
            (
                {
                    "type": "ExternalName",
                    "externalName": "a.b.",
                    "clusterIPs": ["10.200.1.1"],
                    "ipFamilyPolicy": "SingleStack",
                },
                [
                    "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                    "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
                ],
            ),
            (
                {"clusterIP": "10.200.1.1", "clusterIPs": ["10.200.1.2"]},
                ['spec.clusterIPs: Invalid value: ["10.200.1.2"]: first value must match `clusterIP`'],
            ),
            (
                {"clusterIPs": ["10.200.1.2"]},
                ['spec.clusterIPs: Invalid value: ["10.200.1.2"]: must be empty when `clusterIP` is not specified'],
            ),
            (
                {
                    "clusterIP": "10.0.0.1",
                    "clusterIPs": ["10.0.0.1", "10.0.0.2"],
                    "ipFamilies": ["IPv6", "IPv6", "IPX"],
                },
                [
                    'spec.ipFamilies[1]: Duplicate value: "IPv6"',
                    'spec.ipFamilies[2]: Unsupported value: "IPX": supported values: "IPv4", "IPv6"',
                    (
                        'spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: '
                        "may specify no more than one IP for each IP family"
                    ),
                    (
                        'spec.clusterIPs[0]: Invalid value: "10.0.0.1": '
                        "expected an IPv6 value as indicated by `ipFamilies[0]`"
                    ),
                    (
                        'spec.clusterIPs[1]: Invalid value: "10.0.0.2": '
                        "expected an IPv6 value as indicated by `ipFamilies[1]`"
                    ),
                ],
            ),
            (
                {"clusterIP": "None", "clusterIPs": ["None", "x"]},
                [
                    'spec.clusterIPs: Invalid value: ["None","x"]: \'None\' must be the first and only value',
                    (
                        'spec.clusterIPs[1]: Invalid value: "x": '
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    ),
                ],
            ),
            (
                {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
                [
                    (
                        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: "
                        "must be greater than 0 and less than 86400"
                    )
                ],
            ),
        ],
    )
    def test_each_field_has_its_rules(self, spec: dict[str, Any], found: list[str]) -> None:
        assert wrong(SERVICES, service(**spec)) == found

    def test_source_ranges_may_stand_in_an_annotation(self) -> None:
        name = "service.beta.kubernetes.io/load-balancer-source-ranges"
        body = {**service(), "metadata": {"annotations": {name: "10.0.0.0/8, x"}}}
        assert wrong(SERVICES, body) == [
            f"metadata.annotations[{name}]: Forbidden: may only be used when `type` is 'LoadBalancer'",
            (
                f'metadata.annotations[{name}]: Invalid value: "x": '
                "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            ),
        ]

    @pytest.mark.parametrize(
        ("ingress", "found"),
        [
            ({"ip": "192.0.2.1", "ipMode": "VIP"}, []),
            ({"hostname": "a.b"}, []),
            ({"hostname": "a.b", "ipMode": "VIP"}, ["ipMode: Forbidden: may not be specified when `ip` is not set"]),
            (
                {"ip": "192.0.2.1", "ipMode": "X"},
                ['ipMode: Unsupported value: "X": supported values: "Proxy", "VIP"'],
            ),
            (
                {"hostname": "192.0.2.1"},
                ['hostname: Invalid value: "192.0.2.1": must be a DNS name, not an IP address'],
            ),
        ],
    )
    def test_a_status_names_addresses_of_a_load_balancer(self, ingress: Any, found: list[str]) -> None:
        body = {"status": {"loadBalancer": {"ingress": [ingress]}}}
        seen = wrong_change(SERVICES, allocated(type="LoadBalancer"), body, "status")
        assert seen == [f"status.loadBalancer.ingress[0].{text}" for text in found]

    def test_only_a_load_balancer_has_addresses_in_its_status(self) -> None:
        body = {"status": {"loadBalancer": {"ingress": [{"hostname": "a.b"}]}}}
        assert wrong_change(SERVICES, allocated(), body, "status") == [
            'status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is "LoadBalancer"'
        ]


class TestChanges:
    def changed(self, old: dict[str, Any], **spec: Any) -> list[str]:
        return wrong_change(SERVICES, old, {"spec": {**old["spec"], **spec}})

    def test_the_address_does_not_change(self) -> None:
        assert self.changed(allocated(), clusterIP="10.200.1.8", clusterIPs=["10.200.1.8"]) == [
            'spec.clusterIPs[0]: Invalid value: ["10.200.1.8"]: may not change once set'
        ]

    def test_the_first_family_does_not_change(self) -> None:
        assert self.changed(allocated(), ipFamilies=["IPv6"])[0] == (
            'spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set'
        )

    def test_a_second_address_goes_only_with_single_stack(self) -> None:
        both = {"clusterIPs": ["10.200.1.9", "fd00::9"], "ipFamilies": ["IPv4", "IPv6"]}
        old = allocated(**both, ipFamilyPolicy="RequireDualStack")
        one = {"clusterIPs": ["10.200.1.9"], "ipFamilies": ["IPv4"]}
        assert self.changed(old, **one, ipFamilyPolicy="SingleStack") == []
        assert self.changed(old, **one) == [
            (
                'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
                "must be set to 'SingleStack' when releasing the secondary clusterIP"
            ),
            (
                'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
                "must be set to 'SingleStack' when releasing the secondary ipFamily"
            ),
        ]

    def test_the_class_of_a_load_balancer_does_not_change(self) -> None:
        old = allocated(type="LoadBalancer", loadBalancerClass="a.b/c")
        assert self.changed(old, loadBalancerClass="a.b/d") == [
            'spec.loadBalancerClass: Invalid value: "a.b/d": field is immutable'
        ]

    def test_the_status_of_an_update_is_ignored(self) -> None:
        old = allocated(type="LoadBalancer")
        made = change(SERVICES, old, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
        assert made["status"] == {"loadBalancer": {}}


class TestTypeChange:
    OLD: ClassVar[dict[str, Any]] = {
        "type": "LoadBalancer",
        "clusterIP": "10.200.1.9",
        "clusterIPs": ["10.200.1.9"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{**PORT, "nodePort": 30080}],
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30100,
        "allocateLoadBalancerNodePorts": True,
        "loadBalancerClass": "a.b/c",
        "internalTrafficPolicy": "Cluster",
    }

    def dropped(self, **spec: Any) -> dict[str, Any]:
        made = {**self.OLD, "ports": [dict(port) for port in self.OLD["ports"]], **spec}
        drop_type_dependent_fields(made, self.OLD)
        return made

    def test_a_cluster_ip_keeps_its_address_only(self) -> None:
        assert self.dropped(type="ClusterIP") == {
            "type": "ClusterIP",
            "clusterIP": "10.200.1.9",
            "clusterIPs": ["10.200.1.9"],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [PORT],
            "internalTrafficPolicy": "Cluster",
        }

    def test_a_node_port_keeps_its_node_ports_and_policy(self) -> None:
        made = self.dropped(type="NodePort")
        assert (made["ports"], made["externalTrafficPolicy"]) == ([{**PORT, "nodePort": 30080}], "Local")
        assert not {"healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"} & set(made)

    def test_an_external_name_keeps_its_ports(self) -> None:
        assert self.dropped(type="ExternalName", externalName="a.b") == {
            "type": "ExternalName",
            "externalName": "a.b",
            "ports": [PORT],
        }

    def test_what_the_client_changed_too_stays_and_is_an_error(self) -> None:
        old = allocated(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
        spec = {**old["spec"], "type": "ClusterIP", "ports": [{**PORT, "nodePort": 30081}]}
        found = wrong_change(SERVICES, old, {"spec": spec})
        assert found == ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]


@pytest.mark.parametrize(
    ("spec", "warnings"),
    [
        ({}, []),
        (
            {"externalIPs": ["192.0.2.1"]},
            ["spec.externalIPs is deprecated and may no longer be implemented in some clusters"],
        ),
        (
            {"clusterIP": "None", "sessionAffinity": "ClientIP", "loadBalancerIP": "192.0.2.1"},
            [
                "spec.loadBalancerIP is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
            ],
        ),
    ],
)
def test_fields_without_effect_are_warned_of(spec: dict[str, Any], warnings: list[str]) -> None:
    assert strategy_for(SERVICES).warnings(new(SERVICES, service(**spec)), None) == warnings


def test_names_may_begin_with_a_digit_but_have_no_dots() -> None:
    assert wrong(SERVICES, {**service(), "metadata": {"name": "9a"}}) == []
    [text] = wrong(SERVICES, {**service(), "metadata": {"name": "a.b"}})
    assert text.startswith('metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label')


def test_causes_of_different_parts_come_in_the_order_of_the_server() -> None:
    causes = strategy_for(SERVICES).validate_create(
        new(SERVICES, {"metadata": {"name": "A"}, **service(type="X", sessionAffinity="Y", ports=[{"port": 0}])})
    )
    assert [text.partition(":")[0] for text in texts(causes)] == [
        "metadata.name",
        "spec.ports[0].port",
        "spec.ports[0].targetPort",
        "spec.sessionAffinity",
        "spec.type",
    ]
