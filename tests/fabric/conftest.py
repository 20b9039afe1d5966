"""One lab for all tests of this package that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fabric.labs import Lab, lab


@pytest.fixture(scope="package")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as up:
        yield up
