"""What steering speaks over HTTP, as an OpenAPI 3.1 document, made from the types of `wire`. Pure.

Served at `/v1/openapi.json`, and kept as docs/openapi.json: a test holds that both are this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from wire.codec import encode
from wire.generations import ConfigChange, ConfigState, Draft
from wire.ids import ApplianceId, AssetId, FileName, TitleId
from wire.pathways import SteeringManifest
from wire.problem import PROBLEM_TYPE, Problem
from wire.reports import (
    Heartbeat,
    HeartbeatReply,
    Inventory,
    InventoryReply,
    Routes,
    RoutesReply,
)
from wire.steer import (
    BatchAnswer,
    BatchQuestion,
    BoxState,
    Explanation,
    FleetState,
    SteerAnswer,
)

PATH = "/v1/openapi.json"
PLAYERS, APPLIANCES, OPERATORS = "players", "appliances", "operators"
_TAGS = {
    PLAYERS: "Public listener, any origin (CORS). Never cached, never 429.",
    APPLIANCES: "Public listener; a JWT signed with the appliance's key, over the body's digest.",
    OPERATORS: "Admin listener only (default 127.0.0.1:9481); refuses what carries Origin.",
}
_REASONS = {
    "200": "The answer.",
    "302": "There; the URL is signed.",
    "400": "Cannot be read; `field` says which part.",
    "401": "Not signed by whom it speaks for.",
    "403": "Known, and may not.",
    "404": "There is no such thing.",
    "409": "Older than what is held, or of another catalogue.",
    "410": "The title is no more: stop asking.",
    "413": "Larger than its kind may be.",
    "502": "The origin's manifest cannot be used.",
    "503": "Not now; Retry-After says when.",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `where` is query or path; `kind` a type or a schema."""

    name: str
    where: str
    kind: Any
    about: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path; `answer` is a type, or the media type of a text."""

    method: str
    path: str
    tag: str
    about: str
    answer: Any
    refusals: Sequence[str]
    parameters: Sequence[Parameter] = ()
    body: Any = None


_ASSET = Parameter("asset", "query", AssetId, "An asset's number.")
_TITLE = Parameter("title", "query", TitleId, "A title's id; all its assets.")
_CLIENT = Parameter("client", "query", {"type": "string"}, "Address to answer for, v4 or v6.", True)
_LISTED = Parameter(
    "pathways",
    "query",
    {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}(,[A-Za-z0-9._-]{1,64})*$"},
    "Pathways that the player's manifest lists, with commas.",
    True,
)
_STATE = Parameter("state", "query", {"type": "string"}, "As the last answer's RELOAD-URI has it.")
_DRY_RUN = Parameter("dry_run", "query", {"enum": ["0", "1"]}, "1: only say what would change.")
_FORCE = Parameter("force", "query", {"enum": ["0", "1"]}, "1: even if most boxes leave service.")
_BOX = Parameter("appliance", "path", ApplianceId, "An appliance's id.", True)
_NEEDED_TITLE = Parameter("title", "query", TitleId, "The title that is played.", True)
_SIGNED = ("400", "401", "403", "404", "409", "413")
_CHANGE = ("400", "409", "413", "503")
_MANIFEST = Parameter(
    "name",
    "path",
    {"type": "string", "pattern": r"\.(m3u8|mpd)$"},
    "TITLE.m3u8 or TITLE.mpd.",
    True,
)

OPERATIONS = (
    Operation(
        "get", "/v1/steer", PLAYERS, "Who should serve me this asset, or this title?", SteerAnswer,
        ("400", "404", "503"), (_ASSET, _TITLE),
    ),
    Operation(
        "post", "/v1/steer", PLAYERS, "Who should serve me these assets, up to 1,000?", BatchAnswer,
        ("400", "413", "503"), body=BatchQuestion,
    ),
    Operation(
        "get", "/v1/play/{name}", PLAYERS, "The title's manifest with pathways and steering.",
        "application/octet-stream", ("400", "404", "502", "503"), (_MANIFEST,),
    ),
    Operation(
        "get", "/v1/steering/hls", PLAYERS, "HLS Content Steering.", SteeringManifest,
        ("400", "410", "503"), (_NEEDED_TITLE, _LISTED, _STATE),
    ),
    Operation(
        "get", "/v1/steering/dash", PLAYERS, "DASH Content Steering (ETSI TS 103 998).",
        SteeringManifest, ("400", "410", "503"), (_NEEDED_TITLE, _LISTED, _STATE),
    ),
    Operation(
        "get", "/v1/redirect/a/{asset}/{file}", PLAYERS, "To the best box, for whoever can follow.",
        None, ("400", "404", "503"),
        (
            Parameter("asset", "path", AssetId, "An asset's number.", True),
            Parameter("file", "path", FileName, "A file of it.", True),
            Parameter("not", "query", ApplianceId, "A box that sent the client away."),
        ),
    ),
    Operation("get", PATH, PLAYERS, "This document.", {"type": "object"}, ()),
    Operation("get", "/healthz", PLAYERS, "The process is there.", {"type": "object"}, ()),
    Operation(
        "post", "/v1/heartbeat", APPLIANCES, "I live.", HeartbeatReply, _SIGNED, body=Heartbeat
    ),
    Operation(
        "put", "/v1/inventory", APPLIANCES, "What I hold.", InventoryReply, _SIGNED, body=Inventory
    ),
    Operation("put", "/v1/routes", APPLIANCES, "Whom I may serve.", RoutesReply, _SIGNED,
              body=Routes),
    Operation(
        "get", "/v1/explain", OPERATORS, "Why is a client sent there?", Explanation,
        ("400", "404", "503"), (_CLIENT, _ASSET, _TITLE),
    ),
    Operation("get", "/v1/fleet", OPERATORS, "What is believed of every box.", FleetState, ()),
    Operation(
        "post", "/v1/drain/{appliance}", OPERATORS, "Send nobody new there.", BoxState, ("404",),
        (_BOX,),
    ),
    Operation(
        "delete", "/v1/drain/{appliance}", OPERATORS, "End a drain.", BoxState, ("404",), (_BOX,)
    ),
    Operation("get", "/v1/config", OPERATORS, "Which generation runs.", ConfigState, ()),
    Operation(
        "post", "/v1/config", OPERATORS, "Publish fleet file and policy.", ConfigChange, _CHANGE,
        (_DRY_RUN, _FORCE), Draft,
    ),
    Operation(
        "post", "/v1/config/reload", OPERATORS, "Take up the files, as SIGHUP.", ConfigChange,
        _CHANGE, (_DRY_RUN, _FORCE),
    ),
    Operation(
        "post", "/v1/config/rollback", OPERATORS, "Back to what ran before.", ConfigChange,
        ("400", "404", "503"), (_DRY_RUN,),
    ),
    Operation("get", "/metrics", OPERATORS, "For Prometheus.", "text/plain", ()),
)  # fmt: skip


@cache
def document() -> bytes:
    """The document as JSON, the same bytes for the same types."""
    types: list[type] = [Problem]
    for operation in OPERATIONS:
        types += [kind for kind in (operation.answer, operation.body) if isinstance(kind, type)]
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    refs = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, refs)
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "Steering",
            "version": "1",
            "description": "Who should serve whom. Every refusal is a problem document (RFC 9457).",
        },
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": components},
    }
    return msgspec.json.format(encode(_portable(made)), indent=1) + b"\n"


def _operation(operation: Operation, refs: dict[Any, Any]) -> dict[str, Any]:
    good = "302" if operation.answer is None else "200"
    responses = {good: _response(good, operation.answer, refs)}
    for status in operation.refusals:
        responses[status] = _refusal(status, refs)
    name = operation.path.removeprefix("/v1/").replace("/", "_")
    made: dict[str, Any] = {
        "operationId": f"{operation.method}_{name.translate(_PLAIN)}",
        "tags": [operation.tag],
        "summary": operation.about,
        "responses": responses,
    }
    if operation.parameters:
        made["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        content = {"application/json": {"schema": refs[operation.body]}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _response(status: str, answer: Any, refs: dict[Any, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"description": _REASONS[status]}
    if answer is None:
        text = {"type": "string"}
        made["headers"] = {"Location": {"required": True, "schema": text}}
    elif isinstance(answer, str):
        media = ("application/vnd.apple.mpegurl", "application/dash+xml")
        types = media if answer == "application/octet-stream" else (answer,)
        made["content"] = {kind: {"schema": {"type": "string"}} for kind in types}
    else:
        schema = answer if isinstance(answer, dict) else refs[answer]
        made["content"] = {"application/json": {"schema": schema}}
    return made


def _refusal(status: str, refs: dict[Any, Any]) -> dict[str, Any]:
    return {
        "description": _REASONS[status],
        "content": {PROBLEM_TYPE: {"schema": refs[Problem]}},
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    kind = parameter.kind
    schema = kind if isinstance(kind, dict) else msgspec.json.schema(kind)
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.needed,
        "description": parameter.about,
        "schema": schema,
    }


def _portable(value: Any) -> Any:
    r"""The same with patterns as ECMA 262 has them: its `$` is our `\Z`."""
    if isinstance(value, dict):
        return {
            key: part.replace(r"\Z", "$") if key == "pattern" else _portable(part)
            for key, part in value.items()
        }
    return [_portable(part) for part in value] if isinstance(value, list) else value


_PLAIN = str.maketrans({"{": None, "}": None, ".": "_"})
