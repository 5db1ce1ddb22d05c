"""Ask a running appliance's admin listener, for the commands that an operator types."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from oca.config import read, split_address
from wire.errors import OcaError, UnavailableError, WireError

DEFAULT_ADMIN = "127.0.0.1:9480"
TIMEOUT_S = 5.0


def admin_address(admin: str | None, config_file: str | None) -> str:
    """Where to ask: as said, or as the configuration says; raises WireError when it does not."""
    if admin is not None:
        return admin
    if config_file is None:
        return DEFAULT_ADMIN
    found = read(Path(config_file).read_bytes(), config_file).admin
    if not found:
        raise WireError(config_file, "admin", "is not set", hint="such as 127.0.0.1:9480")
    return found


def ask(admin: str, path: str, method: str = "GET") -> Any:
    """The JSON that `path` answers; raises WireError, UnavailableError, OcaError, each one line."""
    host, port = split_address(admin, "--admin")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        raise UnavailableError(f"{admin} does not answer: {exc}; is it `admin`?") from exc
    finally:
        connection.close()
    try:
        found = json.loads(raw)
    except ValueError as exc:
        raise OcaError(f"http://{admin}{path}: status {answer.status}, no JSON") from exc
    if answer.status >= 400:
        why = found.get("detail") or found.get("title") if isinstance(found, dict) else found
        raise OcaError(f"http://{admin}{path}: status {answer.status}: {why}")
    return found
