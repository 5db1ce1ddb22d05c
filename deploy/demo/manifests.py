"""Write one title's HLS multivariant playlist and DASH manifest over the same files. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from deploy.demo.mp4 import Span, Track


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded rendition: folder, picture size (0 for sound), track, segment spans, sizes."""

    name: str
    width: int
    height: int
    track: Track
    spans: Sequence[Span]
    sizes_bytes: Sequence[int]

    @property
    def duration_s(self) -> float:
        """Length of the rendition in seconds."""
        return sum(span.duration_ticks for span in self.spans) / self.track.timescale

    @property
    def mean_bps(self) -> int:
        """Average rate in bits per second."""
        return round(sum(self.sizes_bytes) * 8 / self.duration_s)

    @property
    def peak_bps(self) -> int:
        """Rate of the densest segment in bits per second (RFC 8216 §4.3.4.2, BANDWIDTH)."""
        ticks = self.track.timescale * 8
        return max(
            round(size * ticks / span.duration_ticks)
            for size, span in zip(self.sizes_bytes, self.spans, strict=True)
        )


def hls_multivariant(videos: Sequence[Encoded], audio: Encoded) -> str:
    """The multivariant playlist (RFC 8216): sound as its own group, one variant a rendition."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    lines.append(
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="English",LANGUAGE="en",DEFAULT=YES,'
        f'AUTOSELECT=YES,CHANNELS="2",URI="{audio.name}/media.m3u8"'
    )
    for video in videos:
        lines.append(
            f"#EXT-X-STREAM-INF:BANDWIDTH={video.peak_bps + audio.peak_bps},"
            f"AVERAGE-BANDWIDTH={video.mean_bps + audio.mean_bps},"
            f'CODECS="{video.track.codec},{audio.track.codec}",'
            f'RESOLUTION={video.width}x{video.height},FRAME-RATE=24.000,AUDIO="sound"'
        )
        lines.append(f"{video.name}/media.m3u8")
    return "\n".join(lines) + "\n"


def dash(videos: Sequence[Encoded], audio: Encoded) -> str:
    """The DASH manifest (ISO/IEC 23009-1): a BaseURL per representation, explicit timelines."""
    duration_s = max(video.duration_s for video in videos)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" minBufferTime="PT4S"',
        f'     mediaPresentationDuration="PT{duration_s:.3f}S"',
        '     profiles="urn:mpeg:dash:profile:isoff-live:2011">',
        '  <Period id="0" start="PT0S">',
        '    <AdaptationSet id="0" contentType="video" mimeType="video/mp4"'
        ' segmentAlignment="true" startWithSAP="1">',
    ]
    for video in videos:
        picture = f' width="{video.width}" height="{video.height}" frameRate="24"'
        lines += _representation(video, picture)
    lines += [
        "    </AdaptationSet>",
        '    <AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" lang="en"'
        ' segmentAlignment="true" startWithSAP="1">',
        *_representation(audio, ' audioSamplingRate="48000"'),
        "    </AdaptationSet>",
        "  </Period>",
        "</MPD>",
    ]
    return "\n".join(lines) + "\n"


def _representation(item: Encoded, extra: str) -> list[str]:
    head = f'id="{item.name}" bandwidth="{item.peak_bps}" codecs="{item.track.codec}"{extra}'
    return [
        f"      <Representation {head}>",
        f"        <BaseURL>{item.name}/</BaseURL>",
        f'        <SegmentTemplate timescale="{item.track.timescale}" startNumber="1"'
        ' initialization="init.mp4" media="seg-$Number%05d$.m4s">',
        "          <SegmentTimeline>",
        *_timeline(item.spans),
        "          </SegmentTimeline>",
        "        </SegmentTemplate>",
        "      </Representation>",
    ]


def _timeline(spans: Sequence[Span]) -> list[str]:
    """`S` elements, equal neighbours folded with @r; only the first gives its start."""
    lines, start = [], f' t="{spans[0].start_ticks}"'
    for ticks, run in groupby(span.duration_ticks for span in spans):
        again = len(list(run)) - 1
        repeat = f' r="{again}"' if again else ""
        lines.append(f'            <S{start} d="{ticks}"{repeat}/>')
        start = ""
    return lines
