"""A re-encode is another asset, and is asked for as often as what it replaces."""

from __future__ import annotations

from fill.catalogue import Found, Snapshot, assign_ids, heirs, read_catalogue, write_catalogue
from tests.fill.ground import Ground
from wire.catalogue import AssetKind, File


def found(name: str, size: int, kind: AssetKind = AssetKind.VIDEO, title: str = "film") -> Found:
    """One scanned folder with one file of that size."""
    sha = f"{size:064x}"
    file = File(name="f.bin", bytes=size, sha256=sha, chunks=(), media_type="video/mp4")
    return Found(title, name, kind, 1, (file,), size)


def test_demand_goes_on_to_the_same_rendition_or_the_nearest_in_size() -> None:
    """Also over two re-encodes and the catalogue's file; a title that is gone has no heir."""
    empty = Snapshot("0" * 16, 1, {})
    gone = found("v", 70, title="gone")
    first = assign_ids([found("v240", 100), found("v720", 900), gone], empty)
    second = assign_ids([found("v240", 50), found("av1", 600), found("sound", 800)], first)
    second = read_catalogue(write_catalogue(second), "catalogue.json")
    third = assign_ids(
        [found("v240", 40), found("av1", 600), found("sound", 80, AssetKind.AUDIO)], second
    )
    number = {(e.asset.title, e.asset.name, e.asset.bytes): i for i, e in first.entries.items()}
    named = {entry.asset.name: index for index, entry in third.entries.items()}
    told = heirs(third)
    assert told[number["film", "v240", 100]] == (named["v240"], 0.4)
    assert told[number["film", "v720", 900]] == (named["av1"], 600 / 900)
    assert number["gone", "v", 70] not in told
    assert not set(told) & set(third.entries)


def test_a_title_that_was_encoded_again_keeps_its_place(ground: Ground) -> None:
    """Two weeks were counted under the old number: the new one is expected and planned, and the
    forecast does not take it for a launch."""
    old = ground.synthetic(30)
    best = next(iter(old.entries))
    ground.demand(
        *((f"2026-11-{day:02d}", "isp-a", asset, 2_000_000 // (rank + 1))
          for day in range(1, 15) for rank, asset in enumerate(old.entries))
    )  # fmt: skip
    (ground.media / "t000/data/part_0.bin").unlink()
    ground.add("t000", part_0=4_000)
    (new,) = set(ground.catalogue().entries) - set(old.entries)
    done = ground.fill("plan")
    assert "taken over: 22.4 MB of demand" in done.stdout
    assert "retired asset" not in done.stdout
    plans = ground.plans(1)
    held = {item.asset for name in ("a1", "a2") for item in plans[name].desired}
    assert new in held and best not in held
    out = ground.folder / "f.csv"
    ground.fill("forecast", "--day", "2026-11-15", "--out", str(out))
    rows = [line.replace('"', "").split(",") for line in out.read_text().splitlines()[1:]]
    (expected,) = (float(row[2]) for row in rows if row[:2] == ["isp-a", str(new)])
    assert 0.9 < expected / 1_600_000 < 1.1


def test_counting_keeps_what_has_an_heir(ground: Ground) -> None:
    """`fill demand` writes the old number; whoever plans from the file knows whom it goes to."""
    (old,) = ground.synthetic(1).entries
    ground.demand(("2026-11-14", "isp-a", old, 50_000))
    (ground.media / "t000/data/part_0.bin").unlink()
    ground.add("t000", part_0=4_000)
    ground.catalogue()
    out = ground.folder / "counted.csv"
    ground.fill("demand", str(ground.folder / "demand.csv"), "--out", str(out))
    assert out.read_text().splitlines()[1:] == [f"2026-11-14,isp-a,{old},50000"]
