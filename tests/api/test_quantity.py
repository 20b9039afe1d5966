from __future__ import annotations

from decimal import Decimal

import pytest

from fairway.api.quantity import MALFORMED, canonical_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0m", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("100m", "100m"),
        ("1024", "1024"),
        ("1000", "1k"),
        ("1000k", "1M"),
        ("100M", "100M"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000Mi", "1000Mi"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("12E5", "1200e3"),
        ("-250m", "-250m"),
        ("0.1n", "1n"),
        ("2E", "2E"),
        ("100u", "100u"),
    ],
)
def test_a_quantity_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical
    assert canonical_quantity(canonical) == canonical


@pytest.mark.parametrize("text", ["", "abc", "1 Gi", "1GiB", "1K", "--1", "1..2", "0x10", "1e", "Gi", "1\n"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_quantity(text)
    assert str(caught.value) == MALFORMED


def test_values_compare_across_suffixes() -> None:
    assert parse_quantity("1Gi") == Decimal(1024**3)
    assert parse_quantity("500m") < parse_quantity("0.6") < parse_quantity("1k")
