"""ConfigMaps and Secrets as a pod gets them."""

from __future__ import annotations

from fairway.kubelet.pod import parse_pod
from fairway.kubelet.sources import values_of, wanted_by
from fairway.kubelet.volume import SourceKind
from tests.kubelet.objects import container, pod_object


def test_a_config_maps_values_are_text_and_bytes_by_key() -> None:
    found = values_of({"kind": "ConfigMap", "data": {"b": "é"}, "binaryData": {"a": "AP8="}})

    assert list(found.items()) == [("a", b"\x00\xff"), ("b", "é".encode())]


def test_a_secrets_values_are_decoded() -> None:
    assert values_of({"kind": "Secret", "data": {"key": "aGlkZGVu"}}) == {"key": b"hidden"}


def test_an_object_without_data_has_no_values() -> None:
    assert values_of({"kind": "Secret"}) == {}


def test_what_a_container_wants_is_each_object_once() -> None:
    keys = [{"name": name, "valueFrom": {"configMapKeyRef": {"name": "settings", "key": name}}} for name in ("A", "B")]
    web = container(envFrom=[{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "settings"}}], env=keys)
    spec = parse_pod(pod_object("web", web)).containers[0]

    assert wanted_by(spec) == {(SourceKind.SECRET, "keys"), (SourceKind.CONFIG_MAP, "settings")}
