"""What operators may tune of a decision, in one value: ranking, choosing, answering. Pure.

A policy is the `[policy]` section of a replica's configuration. It travels in every snapshot, so
that a decision depends on nothing else, and a replay can put another one in its place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from wire.errors import WireError
from wire.ids import SiteKind
from wire.knobs import config_of, knob, knobs_of

_KINDS = [kind.value for kind in SiteKind if kind is not SiteKind.ORIGIN]
WEIGHT_MAX = 100.0


@dataclass(frozen=True)
class Policy:
    """The knobs of ranking, choosing and answering; the same everywhere gives the same answers."""

    name: str = knob("default", why="What access records and `steering fleet` call this policy.")
    kinds: list[str] = knob(
        _KINDS, why="Kinds of sites, preferred first, among those that announced the same prefix."
    )
    pathways: int = knob(
        3, low=1, high=16, why="Boxes named beside the origin: enough for two to be lost."
    )
    weights: dict[str, float] = knob(
        {}, why="Factor on the capacity of a box or of a site's boxes, by id; 0 takes it out."
    )
    load_factor: float = knob(
        1.08,
        low=1.01,
        high=10,
        why="Bounded load: a box is given at most this × its fair share.",
    )
    ttl_s: int = knob(
        60, low=1, high=86_400, why="How soon a player asks again: how soon it learns of a change."
    )
    ttl_jitter: float = knob(
        0.1,
        low=0,
        high=0.5,
        why="Share by which TTLs differ: a crowd does not ask again at once.",
    )
    canary_share: float = knob(
        0.02,
        low=0,
        high=1,
        why="A box that comes back is given this share of its clients first; 1: all at once.",
    )
    retry_after_s: int = knob(
        5, low=1, high=3600, why="When nobody can serve: about the time in which a box comes back."
    )

    @cached_property
    def kind_rank(self) -> Mapping[SiteKind, int]:
        """Kind of site → its place in the order, 0 first; the origin is always last."""
        order = [SiteKind(kind) for kind in self.kinds]
        return {kind: place for place, kind in enumerate([*order, SiteKind.ORIGIN])}

    def weight_of(self, box: str, site: str) -> float:
        """The factor on the capacity of a box of a site."""
        return self.weights.get(box, 1.0) * self.weights.get(site, 1.0)


DEFAULT = Policy()


def check(policy: Policy, what: str) -> None:
    """Raise WireError naming the setting of file `what` that cannot be."""
    if sorted(policy.kinds) != sorted(_KINDS):
        hint = "such as " + ", ".join(_KINDS)
        raise WireError(what, "policy.kinds", "every kind of site once is needed", hint=hint)
    for name, factor in policy.weights.items():
        if not 0 <= factor <= WEIGHT_MAX:
            detail = f"{factor} is not between 0 and {WEIGHT_MAX:g}"
            raise WireError(what, f"policy.weights.{name}", detail)


def read_policy(raw: bytes, what: str) -> Policy:
    """A policy from TOML: a file of its own, or a configuration with a section `[policy]`.

    Raises WireError naming file and field.
    """
    try:
        tree = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WireError(what, "", f"this is not TOML: {exc}") from exc
    section = tree.get("policy", {} if "tokens" in tree else tree)
    if not isinstance(section, dict):
        raise WireError(what, "policy", "this is not a section")
    return policy_of(section, what)


def policy_of(tree: Mapping[str, Any], what: str) -> Policy:
    """A policy from plain data; raises WireError naming the setting."""
    policy = config_of(Policy, tree, what)
    check(policy, what)
    return policy


def as_dict(policy: Policy) -> dict[str, Any]:
    """Every setting by name, in the order of their definition."""
    return {setting.name: setting.value for setting in knobs_of(policy)}
