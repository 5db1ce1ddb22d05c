"""Print docs/openapi.json: what steering speaks, from the types that read and write it."""

from __future__ import annotations

from steering.openapi import document

if __name__ == "__main__":
    print(document().decode(), end="")
