"""The demo's media: aligned, complete, the same for HLS and DASH, and made only once."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.demo import synthetic
from deploy.demo.encode import ffmpeg_path, make_media
from deploy.demo.films import AUDIO, FILMS, LADDER, SEGMENT_S
from deploy.demo.mp4 import read_init, read_span

SHORT = replace(FILMS[1], title="short", duration_s=2 * SEGMENT_S)
RENDITIONS = [*(rung.name for rung in LADDER), AUDIO]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of two segments and all synthetic assets."""
    target = tmp_path_factory.mktemp("demo") / "media"
    assert make_media(target, lambda title, share: None, (SHORT,))
    return target


def decodes(manifest: Path) -> str:
    """What ffmpeg complains about when it plays a manifest to the end."""
    done = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-i", str(manifest), "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stderr if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"


def test_every_rendition_is_a_folder_of_the_same_segments(media: Path) -> None:
    """init.mp4, media.m3u8, seg-00001.m4s …, and nothing else."""
    for name in RENDITIONS:
        files = sorted(path.name for path in (media / "short" / name).iterdir())
        assert files == ["init.mp4", "media.m3u8", "seg-00001.m4s", "seg-00002.m4s"]


def test_segments_start_together_in_all_video_renditions(media: Path) -> None:
    """A player may change rendition at any segment."""
    for rung in LADDER:
        folder = media / "short" / rung.name
        scale = read_init((folder / "init.mp4").read_bytes()).timescale
        spans = [read_span(path.read_bytes()) for path in sorted(folder.glob("seg-*"))]
        assert [span.start_ticks / scale for span in spans] == [0, SEGMENT_S]
        assert [span.duration_ticks / scale for span in spans] == [SEGMENT_S, SEGMENT_S]


def test_hls_and_dash_name_the_same_files(media: Path) -> None:
    """One encode, two manifests; every rendition in both, nothing that is not there."""
    master = (media / "short" / "master.m3u8").read_text()
    mpd = (media / "short" / "manifest.mpd").read_text()
    in_hls = set(re.findall(r"^([^#\s]+)/media\.m3u8|URI=\"([^\"]+)/media", master, re.MULTILINE))
    in_dash = set(re.findall(r"<BaseURL>(\S+)/</BaseURL>", mpd))
    assert {a or b for a, b in in_hls} == in_dash == set(RENDITIONS)
    assert re.findall(r'CODECS="(avc1\.[0-9a-f]{6},mp4a\.40\.2)"', master)


def test_ffmpeg_plays_the_dash_manifest_without_a_complaint(media: Path) -> None:
    """The times in the manifest are those of the files."""
    assert decodes(media / "short" / "manifest.mpd") == ""


@pytest.mark.parametrize("name", RENDITIONS)
def test_ffmpeg_plays_each_hls_rendition_without_a_complaint(media: Path, name: str) -> None:
    """Init segment and segments belong together."""
    assert decodes(media / "short" / name / "media.m3u8") == ""


def test_the_same_recipe_is_not_cooked_twice(media: Path) -> None:
    """A second run of the demo starts at once; another recipe starts over."""
    inode = (media / "short").stat().st_ino
    assert not make_media(media, lambda title, share: None, (SHORT,))
    assert (media / "short").stat().st_ino == inode


def test_synthetic_assets_are_the_same_everywhere_and_vary_in_size() -> None:
    """Names decide; the sizes' sum is comparable to the films' 90 MB."""
    sizes = [
        sum(part.size_bytes for part in synthetic.parts_of(synthetic.title_of(n)))
        for n in range(1, synthetic.COUNT + 1)
    ]
    assert synthetic.SIZE_BYTES_MIN <= min(sizes) < max(sizes) / 4
    assert 70e6 < sum(sizes) < 120e6
    part = synthetic.parts_of("synthetic-001")[0]
    assert len(synthetic.content("synthetic-001", part)) == part.size_bytes
    assert synthetic.content("synthetic-001", part)[:4].hex() == "5c13df8a"
