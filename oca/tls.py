"""TLS 1.2 and 1.3 from certificate files: contexts by name (SNI), renewed without a restart.

An adapter. Encryption is OpenSSL's in user space, driven by the same loop as plain connections
(oca.tlsflow); kTLS is asked for where the kernel has it. HTTP/2 is not offered: one player fetches
one segment at a time on one connection, which HTTP/1.1 does with less work.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass, field

from wire.errors import WireError
from wire.log import get

CIPHERS_12 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 §4.2)."""

_ENABLE_KTLS = 1 << 3  # SSL_OP_ENABLE_KTLS; Python names it from 3.12 on
_TCP_ULP = 31  # linux/tcp.h
_log = get("tls")


@dataclass(frozen=True, slots=True)
class Files:
    """Where certificates are: PEM chain and key, and by host name PEM files that hold both."""

    cert: str
    key: str
    names: dict[str, str] = field(default_factory=dict)


class Certificates:
    """The contexts that new connections get."""

    def __init__(self, files: Files) -> None:
        """Raises WireError naming the file that cannot be used."""
        self._files = files
        self._stamp = self._look()
        self.context = self._load()

    def renew(self) -> bool:
        """Take up files that changed: connections made from now on get the new ones. True when
        something was taken up; files that cannot be used leave the old ones in force."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.context = self._load()
        except WireError as exc:
            _log.error("certificates cannot be used, the old ones stay", why=str(exc))
            return False
        _log.info("certificates taken up")
        return True

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        """What would change with the files: inode and time of each."""
        found = []
        for path in (self._files.cert, self._files.key, *self._files.names.values()):
            try:
                st = os.stat(path)  # noqa: PTH116 - asked every few seconds
            except OSError:
                found.append((path, 0, 0))
            else:
                found.append((path, st.st_ino, st.st_mtime_ns))
        return tuple(found)

    def _load(self) -> ssl.SSLContext:
        names = {name.lower(): _context(path, path) for name, path in self._files.names.items()}
        context = _context(self._files.cert, self._files.key)

        def choose(sock: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
            """RFC 6066 §3: a name we do not know gets the first certificate."""
            found = names.get((name or "").lower())
            if found is not None:
                sock.context = found

        context.sni_callback = choose
        return context


def _context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_12)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if why_no_ktls() is None:
        context.options |= ssl.Options(_ENABLE_KTLS)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as exc:
        why = exc.strerror or str(exc)
        raise WireError(cert, "", f"not a usable certificate and key ({key}): {why}") from exc
    return context


def why_no_ktls() -> str | None:
    """Why the kernel cannot encrypt, None when it can: its TLS module is tried on a connection."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sock,
    ):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
        except OSError as exc:
            return f"the kernel has no TLS module ({exc.strerror})"
    return None
