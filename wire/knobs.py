"""A knob carries its unit (in its name), bounds, default and reason; manual pages are made from it.

A configuration is a tree of frozen dataclasses. Unlike messages, it is read strictly: an unknown
name is a mistake of the operator, and is said so.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from wire.codec import convert
from wire.errors import WireError

C = TypeVar("C")
_KEYS = ("low", "high", "why")


def knob(default: Any, *, why: str, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with bounds (both included) and the reason why it is there."""
    metadata = {"low": low, "high": high, "why": why}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def required(why: str) -> Any:
    """A dataclass field that the operator must set."""
    return dataclasses.field(metadata={"low": None, "high": None, "why": why})


def read_config(kind: type[C], raw: bytes, what: str) -> C:
    """Read TOML `raw` as a `kind`; raises WireError naming the file (`what`), field and bound."""
    try:
        tree = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WireError(what, "", f"this is not TOML: {exc}") from exc
    try:
        return config_of(kind, tree, what)
    except WireError as exc:  # a person's file: its own names, not a path in JSON
        where, detail = exc.where.removeprefix("$").removeprefix("."), exc.detail
        raise WireError(what, where, detail.removeprefix("Object "), hint=exc.hint) from exc


def config_of(kind: type[C], tree: Mapping[str, Any], what: str) -> C:
    """Read plain data as a configuration; raises WireError as `read_config` does."""
    _refuse_unknown(kind, tree, what, "$")
    config = convert(kind, dict(tree), what)
    for knob_ in knobs_of(config):
        knob_.check(what)
    return config


@dataclasses.dataclass(frozen=True, slots=True)
class Knob:
    """One setting as the manual shows it: its dotted name, value or default, bounds and reason."""

    name: str
    value: Any
    low: float | None
    high: float | None
    why: str

    def check(self, what: str) -> None:
        """Raise WireError when the value is out of bounds."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            return
        # not `value < low`: TOML knows nan, which is neither
        low_enough = self.high is None or self.value <= self.high
        high_enough = self.low is None or self.value >= self.low
        if not (low_enough and high_enough):
            raise WireError(
                what, self.name, f"{self.value} is not between {self.low} and {self.high}"
            )


def knobs_of(config: Any, prefix: str = "") -> Iterator[Knob]:
    """Every knob of a configuration object, sections flattened as `section.name`."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from knobs_of(value, f"{prefix}{field.name}.")
        else:
            low, high, why = (field.metadata.get(key) for key in _KEYS)
            yield Knob(prefix + field.name, value, low, high, why or "")


def manual(kind: type[Any], prefix: str = "") -> Iterator[Knob]:
    """Every knob of a configuration type with its default (None where it must be set)."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        section = hints[field.name]
        if dataclasses.is_dataclass(section) and isinstance(section, type):
            yield from manual(section, f"{prefix}{field.name}.")
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        low, high, why = (field.metadata.get(key) for key in _KEYS)
        shown = None if default is dataclasses.MISSING else default
        yield Knob(prefix + field.name, shown, low, high, why or "")


def _refuse_unknown(kind: type[Any], tree: Mapping[str, Any], what: str, path: str) -> None:
    hints = typing.get_type_hints(kind)
    for name, value in tree.items():
        if name not in hints:
            known = ", ".join(sorted(hints))
            raise WireError(what, f"{path}.{name}", "there is no such setting", hint=f"try {known}")
        section = hints[name]
        if dataclasses.is_dataclass(section) and isinstance(value, dict):
            _refuse_unknown(typing.cast("type[Any]", section), value, what, f"{path}.{name}")
