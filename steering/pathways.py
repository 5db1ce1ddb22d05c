"""One pathway of a manifest: an appliance, and the signed folder of each rendition it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wire.errors import OcaError


class ManifestError(OcaError):
    """The origin's manifest cannot be rewritten: the text says which line or element, and why."""

    status = 502


@dataclass(frozen=True, slots=True)
class Pathway:
    """`folders`: rendition name (as in the origin's manifest) → signed URL, with its slash."""

    id: str
    folders: Mapping[str, str]


def best_folder(name: str, first: Pathway, pathways: Sequence[Pathway]) -> str | None:
    """Where to get a rendition: at `first` if it holds it, else at the best pathway that does."""
    if name in first.folders:
        return first.folders[name]
    return next((way.folders[name] for way in pathways if name in way.folders), None)


def split_uri(uri: str) -> tuple[str, str] | None:
    """A manifest's relative `<rendition>/<rest>` in two; None for any other kind of URI, and for
    one that leaves the rendition's folder."""
    name, slash, rest = uri.removeprefix("./").partition("/")
    if not slash or not name or ":" in name or name == ".." or "/../" in f"/{rest}/":
        return None
    return name, rest
