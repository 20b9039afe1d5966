"""The first page of a web server."""

from __future__ import annotations

import pytest

from fairway.kubelet.programs.messages import Request
from fairway.kubelet.programs.site import PAGES, answer


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/?a=1", 200),
        ("HEAD", "/index.html", 200),
        ("GET", "/other", 404),
        ("POST", "/", 405),
    ],
)
def test_it_has_one_page(method: str, target: str, status: int) -> None:
    response = answer(PAGES["nginx"], Request(method, target, "1.1", [("Host", "a")], ("10.0.0.1", 1)))

    assert response.status == status
    assert (b"Welcome to nginx!" in response.body) is (status == 200)
