"""Every message ever released stays readable: golden files, unknown fields, missing fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.wire.samples import FLEET, GOLDEN, SAMPLES
from wire.codec import decode, encode
from wire.errors import WireError
from wire.fleet import read_fleet


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_golden_file_is_read_and_written_as_ever(name: str) -> None:
    """The golden bytes decode to the sample, and the sample encodes to the golden bytes."""
    golden = (GOLDEN / f"{name}-v1.json").read_bytes().strip()
    assert decode(type(SAMPLES[name]), golden, name) == SAMPLES[name]
    assert encode(SAMPLES[name]) == golden


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_unknown_fields_are_ignored(name: str) -> None:
    """A newer sender may say more than we know."""
    golden = json.loads((GOLDEN / f"{name}-v1.json").read_bytes())
    golden["a_field_of_the_future"] = {"x": [1]}
    raw = json.dumps(golden).encode()
    assert decode(type(SAMPLES[name]), raw, name) == SAMPLES[name]


def required_fields() -> Iterator[tuple[str, str]]:
    for name, sample in SAMPLES.items():
        for field in msgspec.structs.fields(type(sample)):
            if field.required:
                yield name, field.encode_name


@pytest.mark.parametrize(("name", "field"), sorted(required_fields()))
def test_a_missing_field_is_a_clear_error(name: str, field: str) -> None:
    """The error names the message and the field."""
    golden: dict[str, Any] = json.loads((GOLDEN / f"{name}-v1.json").read_bytes())
    del golden[field]
    with pytest.raises(WireError) as caught:
        decode(type(SAMPLES[name]), json.dumps(golden).encode(), name)
    assert name in str(caught.value)
    assert f"`{field}`" in str(caught.value)


def test_every_golden_file_has_its_sample() -> None:
    """A golden file that nothing reads protects nothing."""
    names = {path.name.removesuffix("-v1.json") for path in GOLDEN.glob("*-v1.json")}
    assert names == set(SAMPLES)


def test_fleet_file_is_read() -> None:
    """The golden fleet file (TOML, as an operator writes it) is the sample fleet."""
    assert read_fleet((GOLDEN / "fleet-v1.toml").read_bytes()) == FLEET


@pytest.mark.parametrize(
    ("old", "new", "blamed"),
    [
        ('site = "isp-a"', 'site = "isp-z"', "appliance[0].site: there is no site isp-z"),
        ('kind = "embedded"', 'kind = "nearby"', "$.site[0].kind"),
        ('id = "oca-a1"', 'id = "origin"', "appliance[0].id"),
        ("port = 18080", "port = 0", "$.port"),
        ("11qYAYKxC", "!!", "appliance[0].public_key"),
        ("ed25519:", "hs256:", "appliance[0].public_key"),
        ("[[site]]", "[[site", "not TOML"),
        ("disks_bytes = [1000000000000]", "", "`disks_bytes`"),
    ],
)
def test_a_bad_fleet_file_is_blamed_by_entry_and_field(old: str, new: str, blamed: str) -> None:
    """The operator reads which entry and field is wrong."""
    text = (GOLDEN / "fleet-v1.toml").read_text()
    assert old in text
    with pytest.raises(WireError) as caught:
        read_fleet(text.replace(old, new, 1).encode(), "fleet.toml")
    assert blamed in str(caught.value)
    assert str(caught.value).startswith("fleet.toml")
