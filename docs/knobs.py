"""Print docs/KNOBS.md: every setting of every service, from the types that read it."""

from __future__ import annotations

from typing import Any

from wire.knobs import manual


def page(configs: dict[str, type[Any]]) -> str:
    """The manual page (Markdown) of these configuration types, one table a service."""
    parts = ["# Settings\n", "Made by `make docs` from the types that read them.\n"]
    for service, kind in configs.items():
        parts.append(f"\n## {service}\n")
        parts.append("| setting | default | bounds | why |")
        parts.append("| --- | --- | --- | --- |")
        for knob in manual(kind):
            default = "**required**" if knob.value is None else f"`{knob.value!r}`"
            bounds = "" if knob.low is None and knob.high is None else f"{knob.low} … {knob.high}"
            parts.append(f"| `{knob.name}` | {default} | {bounds} | {knob.why} |")
    return "\n".join(parts)


def configs() -> dict[str, type[Any]]:
    """The configuration type of each service."""
    import fill.config
    import oca.config
    import steering.config

    return {
        "oca": oca.config.Config,
        "steering": steering.config.Config,
        "fill": fill.config.FillConfig,
    }


if __name__ == "__main__":
    print(page(configs()))
