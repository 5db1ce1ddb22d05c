"""The published OpenAPI document is the one that the types give, and names every path there is."""

from __future__ import annotations

import re

import msgspec

from steering.openapi import document
from tests.house.tree import ROOT

ROUTE = re.compile(r"router\.add_(get|post|put|delete)\(\s*\"([^\"]+)\"")
UNPUBLISHED = {"/readyz"}  # for load balancers; 503 is an answer there


def test_the_published_document_is_current() -> None:
    """`make docs` was run after the last change of a type."""
    assert (ROOT / "docs" / "openapi.json").read_bytes() == document()


def test_every_path_that_is_served_is_in_the_document() -> None:
    """With its method."""
    paths = msgspec.json.decode(document())["paths"]
    served = {
        (method, path)
        for file in (ROOT / "steering").glob("*.py")
        for method, path in ROUTE.findall(file.read_text())
        if path not in UNPUBLISHED
    }
    assert len(served) > 15
    assert not [(method, path) for method, path in served if method not in paths.get(path, {})]
