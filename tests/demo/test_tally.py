"""Offload and the comparison of the two books."""

from __future__ import annotations

from collections import Counter

from deploy.demo.tally import by_serving_site, difference, offload

SITE_OF = {"a1": "isp-a", "a2": "isp-a", "x1": "exchange", "origin": "origin"}


def test_offload_is_what_the_home_site_s_own_boxes_served() -> None:
    """Bytes of other homes do not count."""
    counted = Counter({("isp-a", "a1"): 60, ("isp-a", "a2"): 30, ("isp-a", "x1"): 10})
    counted["isp-b", "x1"] = 500
    assert offload(counted, "isp-a", SITE_OF) == 0.9
    assert by_serving_site(counted, "isp-a", SITE_OF) == {"isp-a": 90, "exchange": 10}
    assert offload(counted, "nowhere", SITE_OF) == 0.0


def test_one_byte_of_difference_is_told_with_box_and_home() -> None:
    """Equal to the byte, or not equal."""
    players = Counter({("isp-a", "a1"): 60, ("isp-a", "x1"): 0})
    assert difference(players, Counter({("isp-a", "a1"): 60})) == []
    assert difference(players, Counter({("isp-a", "a1"): 61})) == [
        "a1 for isp-a: players 60, events 61"
    ]
