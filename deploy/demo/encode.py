"""Make the demo's media: two films and two hundred synthetic assets, once per recipe (cached)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.demo import synthetic
from deploy.demo.films import AUDIO, FILMS, LADDER, Film, ffmpeg_args, recipe_digest
from deploy.demo.manifests import Encoded, dash, hls_multivariant
from deploy.demo.mp4 import read_init, read_span

Progress = Callable[[str, float], None]
"""Called with a film's title and the share of it that is encoded, 0 to 1."""

STAMP = ".recipe"
FONTS = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf")


class EncodeError(Exception):
    """ffmpeg is missing or failed; the text says which, and what to do."""


def ffmpeg_path() -> str:
    """The ffmpeg of the imageio-ffmpeg wheel, else the system's; raises EncodeError without."""
    try:
        import imageio_ffmpeg

        path: str = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
        if found is None:
            raise EncodeError(
                "no ffmpeg here: run `deploy/setup.sh demo`, or install Debian's package ffmpeg"
            ) from None
        return found
    return path


def find_font(ffmpeg: str) -> str | None:
    """A TrueType file for captions, when this ffmpeg can draw text and the system has a font."""
    filters = subprocess.run(
        [ffmpeg, "-hide_banner", "-filters"], capture_output=True, text=True, check=False
    )
    if " drawtext " not in filters.stdout:
        return None
    for name in FONTS:
        for path in sorted(Path("/usr/share/fonts").rglob(name)):
            return str(path)
    return None


def make_media(target: Path, progress: Progress, films: tuple[Film, ...] = FILMS) -> bool:
    """Fill folder `target` with the media unless the same recipe made it before.

    Returns whether anything was made. The tree is `target/<title>/<rendition>/…` with the
    manifests beside the renditions; it appears whole, by one rename.
    """
    ffmpeg = ffmpeg_path()
    font = find_font(ffmpeg)
    digest = recipe_digest(films, f"{synthetic.COUNT} {bool(font)}")
    stamp = target / STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return False
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    asyncio.run(encode_films(ffmpeg, font, films, partial, progress))
    write_synthetic(partial)
    (partial / STAMP).write_text(digest)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return True


def write_synthetic(target: Path, count: int = synthetic.COUNT) -> None:
    """Write the first `count` synthetic titles under `target`."""
    for number in range(1, count + 1):
        title = synthetic.title_of(number)
        folder = target / title / synthetic.RENDITION
        folder.mkdir(parents=True)
        for part in synthetic.parts_of(title):
            (folder / part.name).write_bytes(synthetic.content(title, part))


async def encode_films(
    ffmpeg: str, font: str | None, films: tuple[Film, ...], target: Path, progress: Progress
) -> None:
    """Encode `films` side by side into `target/<title>/…`; raises EncodeError."""
    async with asyncio.TaskGroup() as group:
        for film in films:
            group.create_task(_encode(ffmpeg, font, film, target / film.title, progress))


async def _encode(
    ffmpeg: str, font: str | None, film: Film, folder: Path, progress: Progress
) -> None:
    for name in [rung.name for rung in LADDER] + [AUDIO]:
        (folder / name).mkdir(parents=True)
    process = await asyncio.create_subprocess_exec(
        ffmpeg,
        *ffmpeg_args(film, str(folder), font),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if process.stdout is None or process.stderr is None:
        raise EncodeError("ffmpeg was started without pipes")
    errors = asyncio.create_task(process.stderr.read())
    async for line in process.stdout:
        key, _, value = line.decode().strip().partition("=")
        if key == "out_time_us" and value.isdigit():
            progress(film.title, min(1.0, int(value) / (film.duration_s * 1e6)))
    if await process.wait() != 0:
        tail = (await errors).decode(errors="replace")[-600:]
        raise EncodeError(f"ffmpeg failed on the film {film.title!r}: {tail}")
    _write_manifests(folder)
    progress(film.title, 1.0)


def _write_manifests(folder: Path) -> None:
    """Give init segments one name, then write both manifests from what the files really hold."""
    for name in [rung.name for rung in LADDER] + [AUDIO]:
        _rename_init(folder / name)
    videos = [read_rendition(folder / rung.name, rung.width, rung.height) for rung in LADDER]
    audio = read_rendition(folder / AUDIO, 0, 0)
    (folder / "master.m3u8").write_text(hls_multivariant(videos, audio))
    (folder / "manifest.mpd").write_text(dash(videos, audio))


def _rename_init(rendition: Path) -> None:
    # With several streams ffmpeg numbers the init files (init_0.mp4 …); each has its own folder
    # here, so the number says nothing.
    playlist = rendition / "media.m3u8"
    for numbered in rendition.glob("init_*.mp4"):
        playlist.write_text(playlist.read_text().replace(numbered.name, "init.mp4"))
        numbered.rename(rendition / "init.mp4")


def read_rendition(rendition: Path, width: int, height: int) -> Encoded:
    """What manifests say of a folder of segments with init.mp4; raises ValueError, OSError."""
    segments = sorted(rendition.glob("seg-*.m4s"))
    return Encoded(
        name=rendition.name,
        width=width,
        height=height,
        track=read_init((rendition / "init.mp4").read_bytes()),
        spans=[read_span(path.read_bytes()) for path in segments],
        sizes_bytes=[path.stat().st_size for path in segments],
    )
