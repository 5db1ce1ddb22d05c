"""What the demo's films are and how ffmpeg makes them. Pure: builds the command, runs nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

FRAMES_PER_S = 24
SEGMENT_S = 4
FILM_S = 120
AUDIO = "audio-en"
AUDIO_KBPS = 96
BAR_PX = 8
# Raised when the layout of the encoded tree changes, so that cached media are made again.
LAYOUT = 4


@dataclass(frozen=True, slots=True)
class Rendition:
    """One H.264 encode: its folder's name, picture size in pixels and target rate in kbit/s."""

    name: str
    width: int
    height: int
    kbps: int


LADDER = (
    Rendition("v480", 854, 480, 1800),
    Rendition("v360", 640, 360, 800),
    Rendition("v240", 426, 240, 350),
)


@dataclass(frozen=True, slots=True)
class Film:
    """A title, the words burnt into its picture, and the lavfi sources of picture and sound."""

    title: str
    caption: str
    picture: str
    sound: str
    duration_s: int = FILM_S


def _chord(*tones_hz: float, swell_hz: float) -> str:
    """A soft chord whose tones swell one after the other, as an `aevalsrc` expression."""
    parts = (
        f"0.09*sin(2*PI*{tone}*t)*(0.55+0.45*sin(2*PI*{swell_hz}*t+{at}))"
        for at, tone in enumerate(tones_hz)
    )
    return f"aevalsrc='{'+'.join(parts)}':s=48000"


FILMS = (
    Film(
        "deep-zoom",
        "Deep Zoom",
        f"mandelbrot=size=640x360:rate={FRAMES_PER_S}:maxiter=900:"
        "start_x=-0.743643887037158704752191506114774:"
        "start_y=-0.131825904205311970493132056385139:"
        f"start_scale=2.4:end_scale=0.0004:end_pts={FILM_S * FRAMES_PER_S}",
        _chord(196.0, 246.94, 293.66, swell_hz=0.11),
    ),
    Film(
        "colony",
        "Colony",
        "life=s=284x160:rate=8:mold=12:ratio=0.33:seed=11:stitch=1:"
        "death_color=#d04878:life_color=#ffd978:mold_color=#0c1838",
        _chord(220.0, 261.63, 329.63, swell_hz=0.17),
    ),
)


def recipe_digest(films: tuple[Film, ...], extra: str = "") -> str:
    """Sixteen hex digits that change whenever the encodes of `films` would (cache key)."""
    recipe = [LAYOUT, SEGMENT_S, AUDIO_KBPS, extra]
    recipe += [asdict(film) for film in films] + [asdict(rung) for rung in LADDER]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def ffmpeg_args(film: Film, out_dir: str, font: str | None) -> list[str]:
    """Arguments of one ffmpeg run that writes the whole ladder of `film` as CMAF under `out_dir`.

    Every rendition has a key frame each SEGMENT_S and no other, so segments line up across the
    ladder. `font` is a TrueType file for the caption; without one the moving bar shows the time.
    """
    seconds = str(film.duration_s)
    bar = f"color=c=white:s={LADDER[0].width}x{BAR_PX}:r={FRAMES_PER_S}"
    args = ["-nostdin", "-v", "error", "-progress", "pipe:1", "-y"]
    for source in (film.picture, film.sound, bar):
        args += ["-f", "lavfi", "-i", source]
    args += ["-t", seconds, "-filter_complex", _picture_filter(film, font)]
    for rung in LADDER:
        args += ["-map", f"[{rung.name}]"]
    return [*args, "-map", "[sound]", *_codec_args(), *_hls_args(out_dir)]


def _picture_filter(film: Film, font: str | None) -> str:
    top = LADDER[0]
    chain = (
        f"[0:v]fps={FRAMES_PER_S},scale={top.width}:{top.height}:flags=neighbor[base];"
        f"[base][2:v]overlay=x='-w+w*t/{film.duration_s}':y=main_h-{BAR_PX}:shortest=1"
    )
    if font:
        chain += (
            f",drawtext=fontfile={font}:text='{film.caption}  %{{pts\\:hms}}':x=20:y=20:"
            "fontsize=28:fontcolor=white:box=1:boxcolor=black@0.5:boxborderw=8"
        )
    names = "".join(f"[raw{at}]" for at in range(len(LADDER)))
    chain += f",format=yuv420p,split={len(LADDER)}{names}"
    for at, rung in enumerate(LADDER):
        chain += f";[raw{at}]scale={rung.width}:{rung.height}[{rung.name}]"
    # The AAC encoder adds a frame in front; a sound shorter by two frames keeps it from spilling
    # into a last segment of its own.
    return chain + f";[1:a]atrim=end={film.duration_s - 0.05:.2f}[sound]"


def _codec_args() -> list[str]:
    gop = str(SEGMENT_S * FRAMES_PER_S)
    args = ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "main", "-threads", "2"]
    args += ["-sc_threshold", "0", "-g", gop, "-keyint_min", gop]
    for at, rung in enumerate(LADDER):
        args += [f"-b:v:{at}", f"{rung.kbps}k", f"-maxrate:v:{at}", f"{rung.kbps * 9 // 8}k"]
        args += [f"-bufsize:v:{at}", f"{rung.kbps}k"]
    return [*args, "-c:a", "aac", "-b:a", f"{AUDIO_KBPS}k", "-ac", "2"]


def _hls_args(out_dir: str) -> list[str]:
    streams = [f"v:{at},name:{rung.name}" for at, rung in enumerate(LADDER)]
    streams.append(f"a:0,name:{AUDIO}")
    return [
        *("-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_playlist_type", "vod"),
        *("-hls_flags", "independent_segments", "-hls_segment_type", "fmp4"),
        *("-start_number", "1", "-hls_fmp4_init_filename", "init.mp4"),
        *("-hls_segment_filename", f"{out_dir}/%v/seg-%05d.m4s"),
        *("-var_stream_map", " ".join(streams), f"{out_dir}/%v/media.m3u8"),
    ]
