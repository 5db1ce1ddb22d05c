"""Schemathesis on the published OpenAPI document, against a real process: nothing that it thinks
up gives a 5xx or an answer that the document does not know."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from steering.openapi import APPLIANCES, OPERATORS, PLAYERS, document
from tests.steering.replica import ROOT, Replica, running
from tests.steering.test_surfaces import full_fleet

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


async def schemathesis(replica: Replica, base: str, limit_s: int, *tags: str) -> str:
    """Its report; fails when it found anything."""
    config = replica.folder / "schemathesis.toml"
    config.write_text("")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(config),
        "run", f"{base}/v1/openapi.json", "--checks", CHECKS, "--phases", "coverage,fuzzing",
        "--seed", "7", "--no-color", "--workers", "1",
        "--max-time", str(limit_s), "--suppress-health-check", "all",
        "--generation-database", "none",
        *(word for tag in tags for word in ("--include-tag", tag)),
        stdout=PIPE, stderr=STDOUT, cwd=ROOT,
    )  # fmt: skip
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()[-8_000:]
    return told.decode()


async def test_nothing_in_the_document_gives_a_5xx_or_breaks_its_schema(tmp_path: Path) -> None:
    """Every boundary of each operation for players and boxes, and 6 s of chance; both listeners
    serve docs/openapi.json."""
    async with running(tmp_path) as replica:
        for admin in (False, True):
            _, headers, body = await replica.ask("/v1/openapi.json", admin=admin)
            assert body == document() and headers["Content-Type"] == "application/json"
        await full_fleet(replica)
        told = await schemathesis(replica, replica.url, 6, PLAYERS, APPLIANCES)
        assert " passed" in told, told
        assert (await replica.get("/v1/steer?asset=2"))[0] == 200


@pytest.mark.soak
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("admin", [False, True])
async def test_for_long(tmp_path: Path, admin: bool) -> None:
    """The admin listener as well, which may drain and reconfigure as it likes."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        tags = (OPERATORS,) if admin else (PLAYERS, APPLIANCES)
        base = replica.admin if admin else replica.url
        await schemathesis(replica, base, 240, *tags)
        paths = json.loads(document())["paths"]
        assert len(paths) > 10 and (await replica.get("/readyz", admin=True))[0] == 200
