"""What a player is told of this server and the path to it (CTA-5006, CMSD). Pure.

Only players that speak CMCD are told. CMSD-Static is left out: what it would say (bitrate, kind and
length of the object) the player has just said itself, or reads in its manifest.
"""

from __future__ import annotations


def dynamic_line(
    server: str, *, etp_kbps: int | None, rtt_us: int, highest_kbps: int = 0, duress: bool = False
) -> bytes:
    """The header line, with its CRLF: a list (RFC 8941 §3.1) of one string, the server's name.

    `etp` is the estimated throughput in kb/s, `rtt` the round trip in ms (at least 1, so that
    nobody divides by zero), `mb` the highest bitrate that makes sense (0: any), `du` says: rather
    elsewhere. What is not known is left out. `server` is an appliance's id: nothing to escape.
    """
    parameters = b""
    if duress:
        parameters += b";du"
    if etp_kbps is not None:
        parameters += b";etp=%d" % etp_kbps
    if highest_kbps:
        parameters += b";mb=%d" % highest_kbps
    if rtt_us:
        parameters += b";rtt=%d" % max(1, round(rtt_us / 1000))
    return b'CMSD-Dynamic: "%b"%b\r\n' % (server.encode(), parameters)
