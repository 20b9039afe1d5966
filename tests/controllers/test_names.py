from __future__ import annotations

from random import Random

from fairway.controllers.names import ALPHABET, generate, template_hash


def test_a_generated_name_ends_in_five_characters_of_the_alphabet() -> None:
    name = generate("web-", Random(1))
    assert name.startswith("web-")
    assert len(name) == 9
    assert set(name[4:]) <= set(ALPHABET)


def test_a_long_base_is_cut_so_that_the_name_stays_a_dns_label() -> None:
    name = generate("x" * 80, Random(1))
    assert len(name) == 63
    assert name[:58] == "x" * 58


def test_a_name_that_is_taken_is_not_generated() -> None:
    first = generate("web-", Random(1))
    assert generate("web-", Random(1), {first}) != first


def test_a_template_hash_is_ten_characters_of_the_alphabet() -> None:
    digest = template_hash({"spec": {"containers": []}})
    assert len(digest) == 10
    assert set(digest) <= set(ALPHABET)


def test_a_template_hash_depends_on_content_and_collisions_only() -> None:
    one = template_hash({"a": 1, "b": {"c": 2, "d": 3}})
    assert one == template_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert one != template_hash({"a": 1, "b": {"c": 2, "d": 4}})
    assert one != template_hash({"a": 1, "b": {"c": 2, "d": 3}}, collisions=1)
