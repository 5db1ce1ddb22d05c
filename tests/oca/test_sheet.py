"""What a worker knows of an asset is small, and says the same as the catalogue."""

from __future__ import annotations

import msgspec

from oca.http.media import IMMUTABLE
from oca.http.respond import facts_of
from oca.sheet import Sheet
from tests.oca.agent.world import make_asset


def test_each_file_is_found_as_the_catalogue_has_it() -> None:
    """Size, tag, type, date; a part of a name, or a name with a separator, finds nothing."""
    asset, _ = make_asset(5, *range(30))
    sheet = Sheet(asset, "box")
    assert sheet
    for file in asset.files:
        want = facts_of(file.bytes, file.etag.encode(), 1, b"video/mp4", IMMUTABLE, "box")
        assert sheet.get(file.name.encode()) == want
    for name in (b"", b"seg", b"seg-1", b"eg-1.m4s", b"seg-1.m4s\x001", b"seg-1.m4s\nseg-2.m4s"):
        assert sheet.get(name) is None


def test_an_episode_takes_about_a_hundred_bytes_a_file() -> None:
    """So that a worker's memory has nothing to do with how much is stored."""
    asset, _ = make_asset(5, 1)
    files = [msgspec.structs.replace(asset.files[0], name=f"seg-{n:05}.m4s") for n in range(1200)]
    assert Sheet(msgspec.structs.replace(asset, files=tuple(files)), "box").size_bytes < 100 * 1200


def test_an_asset_that_is_not_there_has_no_files() -> None:
    """And is false."""
    assert not Sheet(None, "box")
    assert Sheet(None, "box").get(b"seg-1.m4s") is None
