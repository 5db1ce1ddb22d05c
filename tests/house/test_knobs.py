"""Every setting carries its reason, and the manual page is the one that the types give."""

from __future__ import annotations

import pytest

from docs.knobs import configs, page
from tests.house.tree import ROOT
from wire.errors import WireError
from wire.knobs import config_of, manual


@pytest.mark.parametrize("service", ["oca", "steering", "fill"])
def test_every_setting_says_why_it_is_there(service: str) -> None:
    """A setting without a reason is one option too many."""
    silent = [knob.name for knob in manual(configs()[service]) if not knob.why]
    assert not silent


def test_every_number_has_bounds() -> None:
    """Limit everything: a number without bounds is a surprise waiting."""
    loose = [
        f"{service}: {knob.name}"
        for service, kind in configs().items()
        for knob in manual(kind)
        if isinstance(knob.value, int | float) and not isinstance(knob.value, bool)
        if knob.low is None or knob.high is None
    ]
    assert not loose


def test_the_manual_page_is_current() -> None:
    """`make docs` was run after the last change of a setting."""
    assert (ROOT / "docs" / "KNOBS.md").read_text().strip() == page(configs()).strip()


def test_an_unknown_setting_is_an_error_that_names_it() -> None:
    """A typo in a configuration is said, not ignored."""
    with pytest.raises(WireError, match="no such setting"):
        config_of(configs()["steering"], {"tttl_s": 3}, "steering.toml")
