"""A tiny film for players: two pictures and sound, in segments of one second, made in a second."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.demo.encode import ffmpeg_path, read_rendition
from deploy.demo.manifests import dash, hls_multivariant

TITLE = "clock"
FILM_S, SEGMENT_S, FRAMES_PER_S = 150, 1, 12
PICTURES = {"v144": (256, 144, "160k"), "v90": (160, 90, "60k")}
SOUND = "audio-en"


def make_film(folder: Path) -> None:
    """Write `folder/clock/…` with both manifests, as `fill catalogue` wants it."""
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=256x144:rate={FRAMES_PER_S}"]
    gop = ["-g", str(FRAMES_PER_S * SEGMENT_S), "-keyint_min", str(FRAMES_PER_S * SEGMENT_S)]
    for name, (width, height, rate) in PICTURES.items():
        codec = ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "main", "-b:v", rate]
        scale = ["-vf", f"scale={width}:{height}", "-pix_fmt", "yuv420p", "-sc_threshold", "0"]
        _encode(folder / TITLE / name, [*picture, *scale, *codec, *gop])
    sound = ["-f", "lavfi", "-i", "sine=frequency=220:sample_rate=48000"]
    _encode(folder / TITLE / SOUND, [*sound, "-c:a", "aac", "-b:a", "48k", "-ac", "2"])
    videos = [read_rendition(folder / TITLE / name, *PICTURES[name][:2]) for name in PICTURES]
    audio = read_rendition(folder / TITLE / SOUND, 0, 0)
    (folder / TITLE / "master.m3u8").write_text(hls_multivariant(videos, audio))
    (folder / TITLE / "manifest.mpd").write_text(dash(videos, audio))


def _encode(rendition: Path, args: list[str]) -> None:
    rendition.mkdir(parents=True)
    hls = ["-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_playlist_type", "vod"]
    hls += ["-start_number", "1"]
    hls += ["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4"]
    hls += ["-hls_segment_filename", str(rendition / "seg-%05d.m4s"), str(rendition / "media.m3u8")]
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-y", *args, "-t", str(FILM_S), *hls]
    subprocess.run(command, check=True, timeout=60)
