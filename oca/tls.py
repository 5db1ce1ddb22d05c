"""TLS 1.2 and 1.3 from certificate files: contexts by name (SNI), renewed without a restart.

An adapter. Encryption is OpenSSL's in user space, driven by the same loop as plain connections
(oca.tlsflow); kTLS is asked for where the kernel has it. HTTP/2 is not offered: one player fetches
one segment at a time on one connection, which HTTP/1.1 does with less work.
"""

from __future__ import annotations

import datetime
import os
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from wire.errors import WireError
from wire.log import get

CIPHERS_12 = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 §4.2)."""

_ENABLE_KTLS = 1 << 3  # SSL_OP_ENABLE_KTLS; Python names it from 3.12 on
_TCP_ULP = 31  # linux/tcp.h
_SOL_TLS, _TLS_TX = 282, 1  # linux/socket.h, linux/tls.h
_CRYPTO_INFO_BYTES = 4  # struct tls_crypto_info: version and cipher
WARN_DAYS = 7
_log = get("tls")


@dataclass(frozen=True, slots=True)
class Files:
    """Where certificates are: PEM chain and key, and by host name PEM files that hold both.

    A name may begin with `*.`, which stands for one label (RFC 6125 §6.4.3).
    """

    cert: str
    key: str
    names: dict[str, str] = field(default_factory=dict)


def load(files: Files) -> ssl.SSLContext:
    """The context of these files, with those of other names behind it (SNI); raises WireError."""
    names = {name.lower(): _context(path, path) for name, path in files.names.items()}
    context = _context(files.cert, files.key)

    def choose(sock: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> None:
        """RFC 6066 §3: a name we do not know gets the first certificate."""
        host = (name or "").lower()
        found = names.get(host) or names.get("*." + host.partition(".")[2])
        if found is not None:
            sock.context = found

    context.sni_callback = choose
    return context


class Certificates:
    """The contexts that new connections get."""

    def __init__(self, files: Files) -> None:
        """Raises WireError naming the file that cannot be used."""
        self._files = files
        self._stamp = self._look()
        self.context = load(self._files)
        self._warn()

    def _warn(self) -> None:
        for text in doubts(self._files, datetime.datetime.now(datetime.UTC)):
            _log.warning("certificate", why=text)

    def renew(self) -> bool:
        """Take up files that changed: connections made from now on get the new ones. True when
        something was taken up; files that cannot be used leave the old ones in force."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.context = load(self._files)
        except WireError as exc:
            _log.error("certificates cannot be used, the old ones stay", why=str(exc))
            return False
        _log.info("certificates taken up")
        self._warn()
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


def doubts(files: Files, now: datetime.datetime) -> list[str]:
    """What an operator should hear of certificates that can be used: over, not yet, soon over.

    Raises WireError for a file that cannot be read.
    """
    found = []
    for path in (files.cert, *files.names.values()):
        try:
            made = x509.load_pem_x509_certificate(Path(path).read_bytes())
        except (OSError, ValueError) as exc:
            raise WireError(path, "", f"not a certificate: {exc}") from exc
        begin, end = made.not_valid_before_utc, made.not_valid_after_utc
        if now > end:
            found.append(f"{path}: over since {end:%Y-%m-%d}; players will refuse it")
        elif now < begin:
            found.append(f"{path}: not valid before {begin:%Y-%m-%d}; players will refuse it")
        elif end - now < datetime.timedelta(days=WARN_DAYS):
            found.append(f"{path}: over on {end:%Y-%m-%d}")
    return found


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is there to type its password")


def _context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS_12)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # a FIN without close_notify ends the request's side only: its answer is still sent
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    if why_no_ktls() is None:
        context.options |= ssl.Options(_ENABLE_KTLS)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        why = str(exc) if isinstance(exc, ssl.SSLError) else getattr(exc, "strerror", "") or exc
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


def kernel_encrypts(sock: socket.socket) -> bool:
    """Whether the kernel encrypts what is written to this socket's descriptor (kTLS): OpenSSL gave
    it the keys at the end of the handshake."""
    try:
        return len(sock.getsockopt(_SOL_TLS, _TLS_TX, _CRYPTO_INFO_BYTES)) == _CRYPTO_INFO_BYTES
    except OSError:
        return False
