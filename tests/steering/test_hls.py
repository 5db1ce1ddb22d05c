"""Multivariant playlists with pathways: what a player reads must hold together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from steering.hls import read_multivariant
from steering.pathways import ManifestError, Pathway
from tests.steering.replica import HERE

MASTER = (HERE / "golden" / "master.m3u8").read_text()
ALL = ("360p", "720p", "1080p", "audio")


def way(name: str, *held: str) -> Pathway:
    """A pathway that holds these renditions."""
    return Pathway(name, {one: f"http://{name}/a/{one};T/" for one in held or ALL})


@dataclass
class Read:
    """A playlist as a player understands it."""

    steering: dict[str, str] = field(default_factory=dict)
    media: list[dict[str, str]] = field(default_factory=list)
    variants: list[tuple[dict[str, str], str]] = field(default_factory=list)
    iframes: list[dict[str, str]] = field(default_factory=list)

    @property
    def pathways(self) -> list[str]:
        """Pathway ids in the order of their first variant."""
        return list(dict.fromkeys(attributes["PATHWAY-ID"] for attributes, _ in self.variants))


def read(text: str) -> Read:
    """Parse a playlist on its own terms (not with the code under test)."""
    found, waiting = Read(), None
    lines = text.splitlines()
    assert lines[0] == "#EXTM3U"
    for line in lines[1:]:
        tag, _, rest = line.partition(":")
        pairs = re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', rest)
        attributes = {name: value.strip('"') for name, value in pairs}
        if tag == "#EXT-X-CONTENT-STEERING":
            found.steering = attributes
        elif tag == "#EXT-X-MEDIA":
            found.media.append(attributes)
        elif tag == "#EXT-X-I-FRAME-STREAM-INF":
            found.iframes.append(attributes)
        elif tag == "#EXT-X-STREAM-INF":
            waiting = attributes
        elif not line.startswith("#"):
            assert waiting is not None
            found.variants.append((waiting, line))
            waiting = None
    return found


def lint(found: Read) -> None:
    """What RFC 8216bis §4.4.6 and Apple's Content Steering ask of a playlist with pathways."""
    assert found.steering["PATHWAY-ID"] == found.pathways[0]
    groups = {(tag["TYPE"], tag["GROUP-ID"]) for tag in found.media}
    for attributes, uri in found.variants:
        assert uri.startswith(f"http://{attributes['PATHWAY-ID']}/")
        if "AUDIO" in attributes:
            assert ("AUDIO", attributes["AUDIO"]) in groups
            assert attributes["AUDIO"].endswith("@" + attributes["PATHWAY-ID"])
    for tag in found.media:
        assert tag["URI"].startswith("http://") and tag["NAME"] == "English"


def rendered(*ways: Pathway, text: str = MASTER) -> Read:
    """The playlist for these pathways, linted."""
    playlist = read_multivariant(text)
    usable = playlist.usable(ways)
    found = read(playlist.render(usable, "http://s/v1/steering/hls?title=film&pathways=a,b"))
    lint(found)
    assert found.pathways == [one.id for one in usable]
    return found


def test_every_pathway_has_every_variant_and_its_own_sound() -> None:
    """Three variants on each of three pathways, the nearest one first."""
    found = rendered(way("a"), way("b"), way("origin"))
    assert found.pathways == ["a", "b", "origin"] and len(found.variants) == 9
    assert [tag["GROUP-ID"] for tag in found.media] == ["sound@a", "sound@b", "sound@origin"]
    assert {(tag["NAME"], tag["LANGUAGE"]) for tag in found.media} == {("English", "en")}
    assert found.variants[0][1] == "http://a/a/360p;T/media.m3u8"
    assert found.variants[0][0]["CODECS"] == "avc1.64001e,mp4a.40.2"
    assert found.steering["SERVER-URI"].endswith("title=film&pathways=a,b")


def test_variant_stands_only_where_it_is_held_and_sound_comes_from_the_best_holder() -> None:
    """A box without 1080p and sound: its pathway lacks the one and borrows the other."""
    found = rendered(way("a", "360p", "720p"), way("b"), way("origin"))
    held = [uri for attributes, uri in found.variants if attributes["PATHWAY-ID"] == "a"]
    assert held == ["http://a/a/360p;T/media.m3u8", "http://a/a/720p;T/media.m3u8"]
    sound = {tag["GROUP-ID"]: tag["URI"] for tag in found.media}
    assert sound["sound@a"] == "http://b/a/audio;T/media.m3u8"


def test_pathway_without_pictures_is_left_out() -> None:
    """A box that holds only sound is no pathway."""
    assert rendered(way("a", "audio"), way("b")).pathways == ["b"]


def test_no_sound_anywhere_means_no_pathway() -> None:
    """A film without its sound is not offered as if it were whole."""
    playlist = read_multivariant(MASTER)
    assert playlist.usable([way("a", "360p", "720p", "1080p")]) == []


EXTRAS = """#EXTM3U
#EXT-X-VERSION:8
#EXT-X-DEFINE:NAME="x",VALUE="y"
#EXT-X-CONTENT-STEERING:SERVER-URI="https://elsewhere/",PATHWAY-ID="."
#EXT-X-SESSION-DATA:DATA-ID="com.example.title",VALUE="Film"
# a comment
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="English",LANGUAGE="en",URI="audio/media.m3u8"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",LANGUAGE="en",URI="text/en.m3u8"

#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="sound",SUBTITLES="subs",CLOSED-CAPTIONS=NONE,PATHWAY-ID="."
./360p/media.m3u8?v=1
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="360p/iframes.m3u8"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=2,URI="720p/iframes.m3u8"
"""


def test_other_tags_pass_and_the_origins_own_steering_does_not() -> None:
    """I-frame variants get pathways too; subtitles held nowhere are not named."""
    text = read_multivariant(EXTRAS).render(
        [way("a", "360p", "audio"), way("b", "audio", "360p")], "u"
    )
    found = read(text)
    assert text.count("#EXT-X-CONTENT-STEERING") == 1 and "elsewhere" not in text
    assert '#EXT-X-DEFINE:NAME="x",VALUE="y"' in text and "#EXT-X-SESSION-DATA" in text
    assert [tag["PATHWAY-ID"] for tag in found.iframes] == ["a", "b"]
    assert found.iframes[0]["URI"] == "http://a/a/360p;T/iframes.m3u8"
    first, uri = found.variants[0]
    assert uri == "http://a/a/360p;T/media.m3u8?v=1"
    assert "SUBTITLES" not in first and first["CLOSED-CAPTIONS"] == "NONE"
    assert first["PATHWAY-ID"] == "a"


def test_subtitles_and_captions_are_of_one_pathway_as_well() -> None:
    """Shaka finds subtitles' pathways by PATHWAY-ID on EXT-X-MEDIA alone; captions have no URI."""
    text = EXTRAS.replace("CLOSED-CAPTIONS=NONE", 'CLOSED-CAPTIONS="cc"').replace(
        "\n\n", '\n#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="E",INSTREAM-ID="CC1"\n'
    )
    ways = [way("a", "360p", "audio", "text"), way("b", "audio", "360p")]
    found = read(read_multivariant(text).render(ways, "u"))
    for tag in found.media:
        assert tag["GROUP-ID"].endswith("@" + tag["PATHWAY-ID"])
    subtitles = {tag["GROUP-ID"]: tag["URI"] for tag in found.media if tag["TYPE"] == "SUBTITLES"}
    assert subtitles == dict.fromkeys(("subs@a", "subs@b"), "http://a/a/text;T/en.m3u8")
    assert {own["CLOSED-CAPTIONS"] for own, _ in found.variants} == {"cc@a", "cc@b"}
    assert {own["SUBTITLES"] for own, _ in found.variants} == {"subs@a", "subs@b"}


def test_what_is_the_same_on_all_pathways_has_one_stable_id() -> None:
    """Shaka merges tags that differ in group and URI only: two groups with one NAME stay two by
    their ids. The origin's own ids are kept."""
    text = MASTER.replace(
        "#EXT-X-STREAM-INF",
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="hi",NAME="English",LANGUAGE="en",URI="720p/a.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="hi",STABLE-VARIANT-ID="mine"\n360p/media.m3u8\n'
        "#EXT-X-STREAM-INF",
        1,
    )
    found = rendered(way("a"), way("b"), text=text)
    sounds = [tag["STABLE-RENDITION-ID"] for tag in found.media]
    assert sounds == ["audio/media.m3u8", "720p/a.m3u8"] * 2
    ids = [own["STABLE-VARIANT-ID"] for own, _ in found.variants]
    assert ids == ["mine", "360p/media.m3u8", "720p/media.m3u8", "1080p/media.m3u8"] * 2


def test_session_keys_and_data_are_served_by_a_holder() -> None:
    """Their URIs would otherwise be looked for at steering; others' addresses stay."""
    text = EXTRAS.replace(
        "\n\n",
        '\n#EXT-X-SESSION-DATA:DATA-ID="x",URI="360p/data.json"\n'
        '#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://key",KEYFORMAT="f"\n'
        '#EXT-X-SESSION-DATA:DATA-ID="y",URI="1080p/data.json"\n',
    )
    told = read_multivariant(text).render([way("a", "360p", "audio")], "u")
    assert '#EXT-X-SESSION-DATA:DATA-ID="x",URI="http://a/a/360p;T/data.json"' in told
    assert '#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="skd://key",KEYFORMAT="f"' in told
    assert 'DATA-ID="y"' not in told


def test_variables_are_filled_in() -> None:
    """URIs have to be known here (RFC 8216bis §4.3); the definition stays, for media playlists."""
    text = EXTRAS.replace('VALUE="y"', 'VALUE="360p"').replace("./360p/media", "{$x}/media")
    told = read_multivariant(text).render([way("a", "360p", "audio")], "u")
    assert "http://a/a/360p;T/media.m3u8?v=1" in told and "#EXT-X-DEFINE" in told


@pytest.mark.parametrize(
    "text, blame",
    [
        ("", "line 1"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nmedia.m3u8\n", "line 3.*folder"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/a/media.m3u8\n", "line 3.*folder"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na/../../b.m3u8\n", "line 3.*folder"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$v}/b.m3u8\n", "line 3.*'v' has no value"),
        ('#EXTM3U\n#EXT-X-SESSION-DATA:DATA-ID="x",URI="data.json"\n', "line 2.*folder"),
        ("#EXTM3U\n" + "#EXT-X-STREAM-INF:BANDWIDTH=1\na/b.m3u8\n" * 1001, "1001 variants"),
        ("#EXTM3U\n#EXTINF:4,\nseg.m4s\n", "line 2.*media playlist"),
        ("#EXTM3U\n", "no variant"),
        ("#EXTM3U\n360p/media.m3u8\n", "line 2"),
        ('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="so\n360p/m.m3u8\n', "line 2"),
        ('#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME="x"\n', "line 2.*GROUP-ID"),
    ],
)
def test_playlist_that_cannot_be_rewritten_names_its_line(text: str, blame: str) -> None:
    """Whoever packaged it learns where to look."""
    with pytest.raises(ManifestError, match=blame):
        read_multivariant(text)
