"""Boxes of a site that start together fetch each asset about once from outside."""

from __future__ import annotations

import time
from pathlib import Path

from deploy.demo.processes import Crew
from oca.metrics import totals
from tests.e2e.lab import Box, Lab, Site, synthetic

MEGABYTE = 1_000_000


def test_three_boxes_that_start_together_pull_one_copy(tmp_path: Path) -> None:
    """Every box ends with everything; the origin sent it about once, the boxes did the rest."""
    media = tmp_path / "media"
    synthetic(media, 24, [MEGABYTE, MEGABYTE // 2])
    boxes = [Box(f"b{n}", "isp", f"127.11.3.{n + 1}", 10**9) for n in range(3)]
    with Crew(tmp_path / "run") as crew:
        lab = Lab(crew.folder, media, [Site("isp", "embedded", ["127.16.0.0/16"])], boxes, crew)
        for box in boxes:  # the lab is in a hurry; a site is not
            path = lab.folder / f"{box.id}.toml"
            path.write_text(path.read_text().replace("patience_s = 1.0", "patience_s = 20.0"))
        lab.command("fill", "catalogue", str(media))
        assets = lab.catalogue().assets
        lab.demand(("isp", asset.id, 10**11 - n) for n, asset in enumerate(assets))
        lab.start()
        lab.plan("--force")
        lab.wait(lambda: all(len(lab.held(box)) >= 24 for box in boxes), 60, "all hold all")
        time.sleep(1.5)  # the origin's counters
        sent = totals(lab.folder / "origin" / "run")["oca_fill_body_bytes_total"]
    assert sent <= 1.05 * sum(asset.bytes for asset in assets)
