"""`fill catalogue`: ids are stable, manifests are checked, what is published is whole."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time

import pytest
import xxhash

from fill.ingest import CatalogueFaults
from tests.fill.ground import ROOT, Ground, touch_later
from wire.catalogue import CHUNK_BYTES, Asset, AssetKind, Catalogue
from wire.codec import decode
from wire.errors import WireError


def by_name(ground: Ground) -> dict[tuple[str, str], Asset]:
    """The published assets by title and name."""
    raw = (ground.media / "catalogue.json").read_bytes()
    return {(a.title, a.name): a for a in decode(Catalogue, raw, "catalogue").assets}


def test_a_film_becomes_one_asset_per_rendition_and_one_for_its_manifests(ground: Ground) -> None:
    """Kinds, rates and media types come from the manifests and names."""
    ground.add_film("film")
    ground.catalogue()
    assets = by_name(ground)
    assert {name: asset.kind for (_, name), asset in assets.items()} == {
        "manifest": AssetKind.MANIFEST,
        "v240": AssetKind.VIDEO,
        "sound": AssetKind.AUDIO,
    }
    video = {file.name: file.media_type for file in assets["film", "v240"].files}
    assert video["init.mp4"] == "video/mp4"
    assert video["media.m3u8"] == "application/vnd.apple.mpegurl"
    assert assets["film", "v240"].bitrate_bps == 800_000
    sound = assets["film", "sound"]
    assert {f.media_type for f in sound.files if f.name.endswith(".m4s")} == {"audio/mp4"}
    media_bytes = sum(file.bytes for file in sound.files if file.name != "media.m3u8")
    assert sound.bitrate_bps == media_bytes  # eight seconds, eight bits a byte


def test_checksums_are_those_of_the_bytes(ground: Ground) -> None:
    """SHA-256 of the whole, xxh3-128 of every 8 MiB, exact sizes."""
    ground.add("big", part_0=CHUNK_BYTES + 5)
    ground.catalogue()
    (file,) = by_name(ground)["big", "data"].files
    raw = (ground.media / "big/data/part_0.bin").read_bytes()
    assert file.bytes == len(raw)
    assert file.sha256 == hashlib.sha256(raw).hexdigest()
    pieces = (raw[:CHUNK_BYTES], raw[CHUNK_BYTES:])
    assert file.chunks == tuple(xxhash.xxh3_128_hexdigest(piece) for piece in pieces)


def test_the_store_holds_each_asset_with_its_exact_entry(ground: Ground) -> None:
    """`a/<asset>/.asset.json` is byte for byte what the catalogue has, beside all its files."""
    ground.add_film("film")
    snapshot = ground.catalogue()
    whole = (ground.media / "catalogue.json").read_bytes()
    for number, entry in snapshot.entries.items():
        folder = ground.media / "a" / str(number)
        raw = (folder / ".asset.json").read_bytes()
        assert raw == entry.raw
        assert raw in whole
        for file in entry.asset.files:
            assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256


def test_unchanged_assets_keep_ids_and_changed_ones_never_get_an_old_number(ground: Ground) -> None:
    """Change, remove and bring back: every content has a number of its own, the epoch stays."""
    for title in ("one", "two", "three"):
        ground.add(title, part_0=100)
    first = ground.catalogue()
    ids = {title: asset.id for (title, _), asset in by_name(ground).items()}
    (ground.media / "two/data/part_0.bin").unlink()
    (ground.media / "two/data/part_0.bin").write_bytes(b"re-encoded")
    (ground.media / "three/data/part_0.bin").unlink()
    (ground.media / "three/data").rmdir()
    (ground.media / "three").rmdir()
    second = ground.catalogue()
    now = {title: asset.id for (title, _), asset in by_name(ground).items()}
    assert second.epoch == first.epoch
    assert now["one"] == ids["one"]
    assert now["two"] not in ids.values()
    ground.add("three", part_0=100)
    ground.catalogue()
    again = {title: asset.id for (title, _), asset in by_name(ground).items()}
    assert again["three"] not in {*ids.values(), *now.values()}
    assert len(set(again.values())) == 3


def test_a_touched_file_with_the_same_bytes_changes_nothing(ground: Ground) -> None:
    """The catalogue's file is not even rewritten."""
    ground.synthetic(2)
    path = ground.media / "catalogue.json"
    before = path.stat().st_ino, path.read_bytes()
    touch_later(ground.media / "t000/data/part_0.bin")
    ground.catalogue()
    assert (path.stat().st_ino, path.read_bytes()) == before


def test_numbers_are_not_reused_after_a_crash_before_the_catalogue(ground: Ground) -> None:
    """An asset folder that no catalogue names is removed, and its number stays unused."""
    snapshot = ground.synthetic(2)
    orphan = ground.media / "a" / str(snapshot.next_id + 4)
    orphan.mkdir()
    (orphan / "junk").write_bytes(b"x")
    ground.add("zz", part_0=10)
    after = ground.catalogue()
    assert not orphan.exists()
    assert by_name(ground)["zz", "data"].id > snapshot.next_id + 4
    assert {number for number in snapshot.entries} <= set(after.entries)


def test_an_asset_overwritten_in_place_is_withdrawn(ground: Ground) -> None:
    """Its published bytes are the new ones, so the old number must not be served any longer."""
    ground.synthetic(1)
    (number,) = (asset.id for asset in by_name(ground).values())
    path = ground.media / "t000/data/part_0.bin"
    with path.open("r+b") as file:
        file.write(b"other bytes")
    touch_later(path)
    ground.catalogue()
    assert not (ground.media / "a" / str(number)).exists()


def test_a_replaced_asset_stays_served_until_it_is_pruned(ground: Ground) -> None:
    """Boxes may still be filling from the old one."""
    ground.synthetic(1)
    (number,) = (asset.id for asset in by_name(ground).values())
    path = ground.media / "t000/data/part_0.bin"
    old = path.read_bytes()
    path.unlink()
    path.write_bytes(b"new encode")
    ground.catalogue()
    assert (ground.media / "a" / str(number) / "part_0.bin").read_bytes() == old
    ground.catalogue(prune=True)
    assert not (ground.media / "a" / str(number)).exists()


def test_unchanged_files_are_not_read_again(ground: Ground) -> None:
    """Size, time and inode are enough, so a large tree costs a listing."""
    ground.synthetic(1)
    path = ground.media / "t000/data/part_0.bin"
    size, stat = path.stat().st_size, path.stat()
    with path.open("r+b") as file:
        file.write(b"?" * size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    snapshot = ground.catalogue()
    assert len(snapshot.entries) == 1 and snapshot.next_id == max(snapshot.entries) + 1


@pytest.mark.parametrize(
    ("name", "old", "new", "line", "uri"),
    [
        ("master.m3u8", "v240/media.m3u8", "v999/media.m3u8", 4, "v999/media.m3u8"),
        ("master.m3u8", "sound/media.m3u8", "sound/none.m3u8", 2, "sound/none.m3u8"),
        ("master.m3u8", "v240/media.m3u8", "https://x/y/z", 4, "https://x/y/z"),
        ("v240/media.m3u8", "seg-2.m4s", "seg-9.m4s", 7, "seg-9.m4s"),
        ("v240/media.m3u8", "init.mp4", "../sound/init.mp4", 3, "../sound/init.mp4"),
    ],
)
def test_a_manifest_that_leads_nowhere_is_named_with_its_line(
    ground: Ground, name: str, old: str, new: str, line: int, uri: str
) -> None:
    """File, line and URI; nothing is published."""
    path = ground.add_film("film") / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CatalogueFaults) as caught:
        ground.catalogue()
    assert f"film/{name}: line {line}: URI '{uri}'" in str(caught.value)
    assert not (ground.media / "catalogue.json").exists()
    assert not (ground.media / "a").exists()


DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">
  <Period>
    <AdaptationSet contentType="audio" mimeType="audio/mp4">
      <Representation id="sound" bandwidth="64000">
        <BaseURL>sound/</BaseURL>
        <SegmentTemplate timescale="1" startNumber="1" initialization="init.mp4" media="{media}">
          {timeline}
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
"""
TIMELINE = '<SegmentTimeline><S t="0" d="4" r="{r}"/></SegmentTimeline>'


def test_dash_templates_are_followed_segment_by_segment(ground: Ground) -> None:
    """A timeline of two segments holds; one of three names the file that is missing."""
    folder = ground.add_film("film")
    good = DASH.format(media="seg-$Number$.m4s", timeline=TIMELINE.format(r=1))
    (folder / "manifest.mpd").write_text(good)
    ground.catalogue()
    assert by_name(ground)["film", "sound"].bitrate_bps == 64_000
    (folder / "manifest.mpd").write_text(good.replace('r="1"', 'r="2"'))
    with pytest.raises(CatalogueFaults, match=r"manifest\.mpd: line 7: .*sound/seg-3\.m4s"):
        ground.catalogue()


@pytest.mark.parametrize(("media", "holds"), [("seg-$Number$.m4s", True), ("s-$Time$.m4s", False)])
def test_dash_templates_without_a_timeline_need_one_file_that_fits(
    ground: Ground, media: str, holds: bool
) -> None:
    """Nobody knows how many there are, but none at all is an error."""
    (ground.add_film("film") / "manifest.mpd").write_text(DASH.format(media=media, timeline=""))
    if holds:
        ground.catalogue()
    else:
        with pytest.raises(CatalogueFaults, match="no file fits"):
            ground.catalogue()


def test_entities_in_a_manifest_are_refused(ground: Ground) -> None:
    """A manifest that declares entities could grow without bound."""
    text = '<!DOCTYPE x [<!ENTITY a "aaaa">]><MPD></MPD>'
    (ground.add_film("film") / "manifest.mpd").write_text(text)
    with pytest.raises(CatalogueFaults, match="declares no entities"):
        ground.catalogue()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("film/has space/x.bin", "'has space' cannot be a rendition's name"),
        ("film/v1/bad name.bin", "'bad name.bin' cannot be a file's name"),
        ("bad title/v1/x.bin", "'bad title' cannot be a title's name"),
        ("film/v1/deeper/x.bin", "'deeper' is a folder"),
        ("film/poster.jpg", "this title has no rendition"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(ground: Ground, path: str, message: str) -> None:
    """Names must be safe in URLs, files lie flat."""
    target = ground.media / path
    target.parent.mkdir(parents=True)
    target.write_bytes(b"x")
    with pytest.raises(WireError, match=message):
        ground.catalogue()


def test_kill_at_any_moment_leaves_a_catalogue_whose_assets_are_all_there(ground: Ground) -> None:
    """kill -9 while publishing; what the catalogue names is whole, and no number is given twice."""
    seed = random.randrange(10**9)
    print("seed", seed)
    draw, meaning = random.Random(seed), dict[int, tuple[str, str]]()
    command = [sys.executable, "-m", "fill", "catalogue", str(ground.media)]
    ground.synthetic(5)
    for turn in range(8):
        for number in range(40):
            ground.add(f"turn{turn}-{number}", part_0=2_000)
        started_s = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(ground.media.glob(".catalogue-build/*")):
            assert time.monotonic() < started_s + 30
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.wait()
        for asset in by_name(ground).values():
            for file in asset.files:
                raw = (ground.media / "a" / str(asset.id) / file.name).read_bytes()
                assert hashlib.sha256(raw).hexdigest() == file.sha256
            content = (asset.title, asset.files[0].sha256)
            assert meaning.setdefault(asset.id, content) == content
    assert len(ground.catalogue().entries) == 5 + 8 * 40


def test_the_command_says_what_it_made(ground: Ground) -> None:
    """One line for people; nothing of a progress bar where there is no terminal."""
    ground.add("one", part_0=100)
    done = subprocess.run(
        [sys.executable, "-m", "fill", "catalogue", str(ground.media)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 assets" in done.stdout and "1 new" in done.stdout
    assert done.stderr == ""
    assert json.loads((ground.media / "catalogue.json").read_bytes())["version"] == 1
