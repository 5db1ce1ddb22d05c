"""Generations of steering's configuration: what ran, what runs, and what a change would change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from wire.ids import ApplianceId, Count, SiteId


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run next: the fleet file's text (TOML) and the settings of `[policy]`. What is not
    given stays as it runs."""

    fleet: str | None = None
    policy: Mapping[str, Any] | None = None


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One generation, whole, as its file has it. `by` says who made it; `source` is the SHA-256 of
    the files on the disk when it was made, so that a start knows whether they changed since."""

    version: Literal[1] = 1
    number: Annotated[int, Meta(ge=1)]
    at_s: float
    by: str
    fleet: str
    policy: Mapping[str, Any]
    source: str = ""


class GenerationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One generation in a list; `at_s` is Unix time."""

    number: Count
    at_s: float
    by: str
    policy: str
    boxes: Count
    running: bool = False


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that differs: its name, and both values as text."""

    name: str
    before: str
    after: str


class BoxChange(msgspec.Struct, frozen=True, kw_only=True):
    """One appliance or site of the fleet file that is new, gone or different."""

    id: ApplianceId | SiteId
    what: Literal["added", "removed", "changed"]
    fields: tuple[FieldChange, ...] = ()


class SiteCapacity(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one site: its boxes in service, and their links × the policy's weights."""

    site: SiteId
    boxes_before: Count
    boxes_after: Count
    before_bps: Count
    after_bps: Count


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a change does, or would do (`applied` false). `generation` is what runs afterwards;
    `restart` names changed settings that only a restart takes up, `networks` the tables of
    networks (`asn`, `place`) whose files changed."""

    generation: Count
    applied: bool
    policy: tuple[FieldChange, ...] = ()
    boxes: tuple[BoxChange, ...] = ()
    sites: tuple[BoxChange, ...] = ()
    capacity: tuple[SiteCapacity, ...] = ()
    restart: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.policy or self.boxes or self.sites)


class ConfigState(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/config` on the admin listener: what runs, and what can be gone back to."""

    running: Count
    generations: tuple[GenerationInfo, ...]
