"""The scripted player reads playlists as steering writes them."""

from __future__ import annotations

import pytest

from deploy.demo.hls import PlaylistError, read_media, read_multivariant

MULTIVARIANT = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-CONTENT-STEERING:SERVER-URI="/v1/hls?title=t",PATHWAY-ID="a1"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound-a1",NAME="English",URI="http://127.11.0.1/a/9;T=x/media.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound-x1",NAME="English",URI="http://127.13.0.1/a/9;T=x/media.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=500,CODECS="avc1.42c015,mp4a.40.2",AUDIO="sound-a1",PATHWAY-ID="a1"
http://127.11.0.1/a/7;T=x/media.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900,AUDIO="sound-a1",PATHWAY-ID="a1"
http://127.11.0.1/a/8;T=x/media.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=500,AUDIO="sound-x1",PATHWAY-ID="x1"
http://127.13.0.1/a/7;T=x/media.m3u8
"""


def test_variants_carry_their_pathway_and_its_sound() -> None:
    """The best variant is chosen per pathway, and a pathway may hold fewer variants."""
    playlist = read_multivariant(MULTIVARIANT, "http://steering/v1/play/t.m3u8")
    assert playlist.pathways() == ["a1", "x1"]
    assert playlist.steering_url == "http://steering/v1/hls?title=t"
    best = playlist.best_on("a1")
    assert best is not None
    assert (best.bandwidth_bps, best.url) == (900, "http://127.11.0.1/a/8;T=x/media.m3u8")
    other = playlist.best_on("x1")
    assert other is not None
    assert other.audio_url == "http://127.13.0.1/a/9;T=x/media.m3u8"
    assert playlist.best_on("origin") is None


def test_a_playlist_cut_short_is_refused() -> None:
    """Without its end tag a media playlist may be half a file."""
    whole = '#EXTM3U\n#EXT-X-MAP:URI="init.mp4"\n#EXTINF:4.0,\nseg-00001.m4s\n#EXT-X-ENDLIST\n'
    assert read_media(whole, "u").segments[0].duration_s == 4.0
    with pytest.raises(PlaylistError):
        read_media(whole.replace("#EXT-X-ENDLIST\n", ""), "u")


def test_an_error_page_is_no_playlist() -> None:
    """What does not begin with #EXTM3U is refused, with its address."""
    with pytest.raises(PlaylistError, match="http://a/"):
        read_multivariant("<html>", "http://a/")
