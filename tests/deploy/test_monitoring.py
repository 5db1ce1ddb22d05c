"""Alerts and the dashboard ask for metrics that there are, as the programs name them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
NAME = re.compile(r"\b(?:oca|steering|fill)_[a-z_]+\b")
DERIVED = re.compile(r"_(?:total|bucket|count|sum)$")


def known() -> set[str]:
    """Every name in the programs' text, without what Prometheus appends."""
    texts = [path.read_text() for part in ("oca", "steering", "fill")
             for path in (ROOT / part).rglob("*.py")]  # fmt: skip
    quoted = (
        name for text in texts for name in re.findall(r'["\']((?:oca|steering|fill)_[a-z_]+)', text)
    )
    return {DERIVED.sub("", name) for name in quoted}


def expressions(value: Any) -> Iterator[str]:
    """Every `expr` and `query` in a dashboard."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query") and isinstance(inner, str):
                yield inner
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


@pytest.mark.parametrize("file", ["alerts.yml", "grafana.json"])
def test_metrics_that_are_asked_for_exist(file: str) -> None:
    """A renamed metric would make an alert that never fires."""
    text = (FOLDER / file).read_text()
    asked = "\n".join(expressions(json.loads(text))) if file.endswith("json") else text
    names = {DERIVED.sub("", name) for name in NAME.findall(asked)}
    assert len(names) > 15 and names <= known(), sorted(names - known())


def test_operators_find_each_alert_in_their_page() -> None:
    """docs/OPERATING.md says what to do about every alert by its name."""
    page = (ROOT / "docs" / "OPERATING.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", (FOLDER / "alerts.yml").read_text())
    assert len(alerts) > 15 and [name for name in alerts if name not in page] == []
