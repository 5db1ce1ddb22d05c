"""MPDs with service locations: what a player reads must hold together."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from steering.dash import read_mpd
from steering.pathways import ManifestError, Pathway
from tests.steering.replica import HERE
from tests.steering.test_hls import way

MPD = (HERE / "golden" / "manifest.mpd").read_text()
NS = "{urn:mpeg:dash:schema:mpd:2011}"
URI = "http://s/v1/steering/dash?title=film&pathways=a,b"


def rendered(*ways: Pathway, text: str = MPD) -> ET.Element:
    """The MPD for these pathways, as an XML parser sees it."""
    manifest = read_mpd(text)
    return ET.fromstring(manifest.render(manifest.usable(ways), URI))


def bases(root: ET.Element, rendition: str) -> list[tuple[str | None, str | None]]:
    """The BaseURLs of one Representation."""
    found = root.find(f".//{NS}Representation[@id='{rendition}']")
    assert found is not None
    return [(base.get("serviceLocation"), base.text) for base in found.findall(f"{NS}BaseURL")]


def test_every_representation_has_a_base_url_on_every_pathway_best_first() -> None:
    """And the steering element names the first one, with its URL intact."""
    root = rendered(way("a"), way("b"), way("origin"))
    for name in ("360p", "720p", "1080p", "audio"):
        assert bases(root, name) == [
            (one, f"http://{one}/a/{name};T/") for one in ("a", "b", "origin")
        ]
    steering = root.find(f"{NS}ContentSteering")
    assert steering is not None and steering.text == URI
    assert steering.attrib == {"defaultServiceLocation": "a", "queryBeforeStart": "false"}
    assert [child.tag for child in root] == [f"{NS}ContentSteering", f"{NS}Period"]


def test_base_url_stands_only_where_it_is_held() -> None:
    """A Representation that a box lacks falls to the next pathway by itself."""
    root = rendered(way("a", "360p", "720p"), way("b"))
    assert [name for name, _ in bases(root, "1080p")] == ["b"]
    assert [name for name, _ in bases(root, "360p")] == ["a", "b"]


def test_representation_that_nobody_holds_is_left_out_and_a_set_without_any_is_refused() -> None:
    """A ladder may lose a rung; a film may not lose its sound."""
    root = rendered(way("a", "360p", "audio"))
    assert [one.get("id") for one in root.iter(f"{NS}Representation")] == ["360p", "audio"]
    assert read_mpd(MPD).usable([way("a", "360p")]) == []


def test_everything_else_stays_byte_for_byte() -> None:
    """Take out what was put in, and the origin's manifest is back."""
    text = read_mpd(MPD).render([way("a")], URI)
    start, end = text.index("<ContentSteering"), text.index("</ContentSteering>\n  ") + 21
    text = text[:start] + text[end:]
    for name in ("360p", "720p", "1080p", "audio"):
        ours = f'<BaseURL serviceLocation="a">http://a/a/{name};T/</BaseURL>'
        text = text.replace(ours, f"<BaseURL>{name}/</BaseURL>")
    assert text == MPD


ODD = """<?xml version="1.0"?>
<m:MPD xmlns:m="urn:mpeg:dash:schema:mpd:2011" xmlns:cenc="urn:mpeg:cenc:2013" type="static">
  <!-- a comment with <m:Period> in it -->
  <m:Location>http://elsewhere/x.mpd</m:Location>
  <m:ContentSteering>http://elsewhere/</m:ContentSteering>
  <m:Period><m:BaseURL>360p/</m:BaseURL>
    <m:AdaptationSet><m:Representation id="1" bandwidth="1"/>
    <m:Representation id="2" bandwidth="2"><m:SegmentBase indexRange="0-9"/>
      <m:BaseURL availabilityTimeOffset="3">film&amp;1.mp4</m:BaseURL></m:Representation>
    <m:Representation id="3" bandwidth="2"><cenc:pssh>AAAA</cenc:pssh></m:Representation>
    </m:AdaptationSet></m:Period>
</m:MPD>
"""


def test_prefixes_empty_elements_and_bases_of_outer_levels_are_understood() -> None:
    """The base of the Period moves into each Representation, and the origin's own steering goes."""
    root = rendered(way("a", "360p"), text=ODD)
    assert bases(root, "1") == [("a", "http://a/a/360p;T/")]
    assert bases(root, "2") == [("a", "http://a/a/360p;T/film&1.mp4")]
    assert bases(root, "3") == [("a", "http://a/a/360p;T/")]
    offset = root.find(f".//{NS}BaseURL[@availabilityTimeOffset]")
    assert offset is not None and offset.get("availabilityTimeOffset") == "3"
    period = root.find(f"{NS}Period")
    assert period is not None and period.find(f"{NS}BaseURL") is None
    assert "elsewhere" not in ET.tostring(root, encoding="unicode")
    assert len(root.findall(f"{NS}ContentSteering")) == 1


TEMPLATES = """<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period id="p1">
  <AdaptationSet contentType="video">
    <SegmentTemplate media="$RepresentationID$/seg-$Number$.m4s"
      initialization="$RepresentationID$/i.mp4"/><Representation id="360p" bandwidth="1"/>
    <Representation id="720p" bandwidth="2"></Representation>
  </AdaptationSet>
  <AdaptationSet contentType="audio"><Representation id="1" bandwidth="1">
    <SegmentTemplate initialization='./audio/init.mp4' media='./audio/a-$Time$.m4s'>
      <SegmentTimeline><S t="0" d="4" r="9"/></SegmentTimeline></SegmentTemplate></Representation>
  </AdaptationSet></Period><Period id="p2"><AdaptationSet><Representation id="1" bandwidth="1">
    <SegmentList><Initialization sourceURL="1080p/i.mp4"/><SegmentURL media="1080p/1.m4s"/>
      <SegmentURL media="1080p/2.m4s"/></SegmentList></Representation></AdaptationSet></Period>
</MPD>
"""


def test_folders_in_templates_and_lists_move_into_base_urls() -> None:
    """Packagers that write no BaseURL name the folder in each URL: it is cut off there, so that
    every pathway can have one with its token; in every Period."""
    root = rendered(way("a"), way("b", "360p", "audio", "1080p"), text=TEMPLATES)
    assert bases(root, "360p") == [("a", "http://a/a/360p;T/"), ("b", "http://b/a/360p;T/")]
    assert bases(root, "720p") == [("a", "http://a/a/720p;T/")]
    first, second = root.iter(f"{NS}SegmentTemplate")
    assert (first.get("media"), first.get("initialization")) == ("seg-$Number$.m4s", "i.mp4")
    assert (second.get("media"), second.get("initialization")) == ("a-$Time$.m4s", "init.mp4")
    assert [one.get("media") for one in root.iter(f"{NS}SegmentURL")] == ["1.m4s", "2.m4s"]
    one = root.findall(f".//{NS}Representation")[-1]
    assert [base.text for base in one.findall(f"{NS}BaseURL")] == [
        "http://a/a/1080p;T/",
        "http://b/a/1080p;T/",
    ]
    assert len(root.findall(f"{NS}ContentSteering")) == 1


def test_an_id_that_a_later_period_uses_for_another_folder_is_told_apart() -> None:
    """Shaka keeps URLs by id alone; the same id for the same folder stays. Ids that are part of
    segments' URLs cannot be changed."""
    root = rendered(way("a"), text=TEMPLATES)
    ids = [one.get("id") for one in root.iter(f"{NS}Representation")]
    assert ids == ["360p", "720p", "1", "1.2"]
    same = TEMPLATES.replace("1080p/", "audio/")
    root = rendered(way("a"), text=same)
    assert [one.get("id") for one in root.iter(f"{NS}Representation")][2:] == ["1", "1"]
    bound = TEMPLATES.replace("audio/a-", "audio/a-$RepresentationID$-")
    root = rendered(way("a"), text=bound)
    assert [one.get("id") for one in root.iter(f"{NS}Representation")][2:] == ["1", "1"]


BOMB = '<!DOCTYPE MPD [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><MPD>&b;</MPD>'


@pytest.mark.parametrize(
    "text, blame",
    [
        (BOMB, "document type"),
        ("<MPD>", "not well-formed"),
        ("", "not well-formed"),
        ("<html/>", "html, not an MPD"),
        ("<MPD><Period/></MPD>", "no Representation"),
        (MPD.replace("<BaseURL>720p/</BaseURL>", ""), "720p.*folder of a rendition"),
        (MPD.replace(">720p/<", ">http://x/720p/<"), "720p"),
        (MPD.replace(">720p/<", ">../secret/<"), "720p"),
        (MPD.replace(">720p/<", ">720p/../secret/<"), "720p"),
        (TEMPLATES.replace('"$RepresentationID$/i', '"init/i'), "line 3.*one folder"),
        (TEMPLATES.replace("'./audio/a-", "'&#x61;udio/a-"), "line 8.*oddly"),
        (TEMPLATES.replace('"1"/>', '"1"><BaseURL>x/</BaseURL></Representation>', 1), "as well"),
        ("<MPD>" + "<a>" * 40, "deep"),
        ("<MPD><Period>" + "<Representation/>" * 1001 + "</Period></MPD>", "folder of a rendition"),
    ],
)
def test_mpd_that_cannot_be_rewritten_says_why(text: str, blame: str) -> None:
    """Entities are refused unread; a Representation without a folder is named."""
    with pytest.raises(ManifestError, match=blame):
        read_mpd(text)
