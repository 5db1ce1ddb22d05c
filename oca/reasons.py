"""Why a connection ended and why a request was refused: each reason is named once, and is a metric.

Pure. The names become slots of the shared counters (oca.counters), label by label.
"""

from __future__ import annotations

from enum import StrEnum

from wire.token import Refusal as TokenRefusal


class Close(StrEnum):
    """Every way a connection ends; the value is the label `reason` of `oca_closes_total`."""

    CLIENT_DONE = "client_done"  # the peer closed between requests: the ordinary end
    CLIENT_CLOSED_EARLY = "client_closed_early"  # FIN in the middle of a head or body of its own
    CLIENT_RESET = "client_reset"  # RST or another socket error
    ASKED = "connection_close"  # the request (or HTTP/1.0) asked for a close
    BAD_REQUEST = "bad_request"  # answered with an error after which framing cannot be trusted
    TLS_REFUSED = "tls_refused"  # no handshake: garbage, a broken-off peer, no common cipher
    TLS_OLD_VERSION = "tls_old_version"  # TLS 1.1 or older (RFC 8996)
    TLS_PLAIN_HTTP = "tls_plain_http"  # http:// to an https port
    TLS_TIMEOUT = "tls_timeout"
    HEAD_TIMEOUT = "head_timeout"
    BODY_TIMEOUT = "body_timeout"
    IDLE = "idle_timeout"
    SEND_STALLED = "send_stalled"
    RESPONSE_TIMEOUT = "response_timeout"
    SHORT_FILE = "short_file"  # the file became shorter than the head promised
    FILE_ERROR = "file_error"
    UPSTREAM_FAILED = "upstream_failed"  # in the middle of an answer that began
    DISK_STALLED = "disk_stalled"  # not opened within `disk_s`, or not read within `send_stalled_s`
    REQUEST_LIMIT = "request_limit"
    DRAIN = "drain"
    DRAIN_FORCED = "drain_forced"
    TOO_MANY = "too_many_connections"
    TOO_MANY_FROM_ADDRESS = "too_many_from_address"
    INTERNAL = "internal_error"


class Refusal(StrEnum):
    """Why a request got 403, beside what can be wrong with a token (wire.token.Refusal)."""

    PEER = "peer_not_proven"
    NOT_ANNOUNCED = "client_not_announced"


REFUSALS: tuple[str, ...] = (*(r.value for r in TokenRefusal), *(r.value for r in Refusal))
"""Every label `reason` of `oca_refusals_total`."""

RESPONSE_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
CONNECTIONS_OPEN = "oca_connections_open"

THROUGHPUT = "oca_cmcd_throughput_kbps"
THROUGHPUT_KBPS = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000)
BUFFER = "oca_cmcd_buffer_ms"
BUFFER_MS = (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000)


def _histogram(name: str, bounds: tuple[int, ...]) -> tuple[str, ...]:
    """A slot for what fell into each bucket alone, one for what is above all, one for the sum."""
    edges = (*map(str, bounds), "+Inf")
    return (*(f'{name}_bucket{{le="{edge}"}}' for edge in edges), f"{name}_sum")


THROUGH = ("hit", "partial", "uri-miss", "stale", "bypass", "failed")
"""Every label `result` of `oca_through_total`: a hit, why the upstream was asked, or our 5xx."""

SLOT_NAMES: tuple[str, ...] = (
    "oca_requests_total",
    "oca_body_bytes_total",
    "oca_fill_body_bytes_total",
    "oca_unacked_bytes_total",
    "oca_uncounted_bytes_total",
    "oca_access_log_dropped_total",
    "oca_cold_opens_total",
    "oca_cold_reads_total",
    "oca_connections_total",
    "oca_ktls_connections_total",
    CONNECTIONS_OPEN,
    "oca_cmcd_requests_total",
    "oca_cmcd_starved_total",
    "oca_cmcd_startups_total",
    "oca_cmcd_late_total",
    *_histogram(THROUGHPUT, THROUGHPUT_KBPS),
    *_histogram(BUFFER, BUFFER_MS),
    *(f'oca_through_total{{result="{r}"}}' for r in THROUGH),
    *(f'oca_responses_total{{class="{c}"}}' for c in RESPONSE_CLASSES),
    *(f'oca_closes_total{{reason="{r.value}"}}' for r in Close),
    *(f'oca_refusals_total{{reason="{r}"}}' for r in REFUSALS),
)
"""The samples of one worker, as Prometheus writes them; order is free, names are the contract."""

SLOT: dict[str, int] = {name: i for i, name in enumerate(SLOT_NAMES)}
THROUGH_SLOT: dict[str, int] = {r: SLOT[f'oca_through_total{{result="{r}"}}'] for r in THROUGH}
CLOSE_SLOT: dict[Close, int] = {r: SLOT[f'oca_closes_total{{reason="{r.value}"}}'] for r in Close}
REFUSAL_SLOT: dict[str, int] = {r: SLOT[f'oca_refusals_total{{reason="{r}"}}'] for r in REFUSALS}
CLASS_SLOT: tuple[int, ...] = (
    0,
    *(SLOT[f'oca_responses_total{{class="{c}"}}'] for c in RESPONSE_CLASSES),
)
"""Slot by `status // 100` (index 0 unused)."""
