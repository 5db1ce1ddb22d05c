"""The URI that a token is matched against: without its token, in normal form (RFC 9246 §2.1.15).

Pure. Everything is text; bytes of a head are latin-1.
"""

from __future__ import annotations

import re
from urllib.parse import quote

PACKAGE = "URISigningPackage"

_IN_PATH = re.compile(r";URISigningPackage=([^;/?#]*)")
_ARGUMENT = PACKAGE + "="
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS = {"http": ":80", "https": ":443"}


def split_path(path: str) -> tuple[str, str | None]:
    """The path without its URI Signing Package, and the package (None where there is none)."""
    found = _IN_PATH.search(path)
    if found is None:
        return path, None
    return path[: found.start()] + path[found.end() :], found.group(1)


def split_query(query: str) -> tuple[str | None, str | None]:
    """The query without its package (None where nothing is left of it), and the package."""
    arguments = query.split("&")
    found = next((a for a in arguments if a.startswith(_ARGUMENT)), None)
    if found is None:
        return query, None
    arguments.remove(found)
    return "&".join(arguments) or None, found.removeprefix(_ARGUMENT)


def from_cookie(cookie: str) -> str | None:
    """The package of a Cookie header (§3.3), None where there is none."""
    for crumb in cookie.split(";"):
        name, _, value = crumb.strip().partition("=")
        if name == PACKAGE:
            return value
    return None


def signed_folder(base_url: str, asset: int, package: str) -> str:
    """The URL of an asset's folder on one host, token included; ends with a slash."""
    return f"{base_url}/a/{asset};{PACKAGE}={package}/"


def signed_uri(uri: str, package: str, *, in_folder: bool) -> str:
    """A URI with its token: in the folder part, where relative URIs inherit it, or in the query.

    A file at the top has no folder part that could carry it.
    """
    path, mark, query = uri.partition("?")
    folder, _, name = path.rpartition("/")
    if in_folder and folder.count("/") > 2:
        return f"{folder};{PACKAGE}={package}/{name}{mark}{query}"
    return f"{path}?{query}{'&' if query else ''}{PACKAGE}={package}"


def normal_uri(scheme: str, authority: str, path: str, query: str | None) -> str:
    """The normal form (RFC 3986 §6.2.2–3, RFC 9110 §4.2.3) of a URI whose token was taken out.

    Dot segments are not resolved: a request with one is refused before it comes here.
    """
    host = authority.lower().removesuffix(":").removesuffix(_PORTS.get(scheme, ":"))
    uri = f"{scheme}://{host}{path or '/'}" + ("" if query is None else f"?{query}")
    return _ESCAPE.sub(_normal_escape, uri) if "%" in uri else uri


def cookie_path(path: str, depth: int) -> str | None:
    """The first `depth` segments of a path, for a cookie (§2.1.14); `/` for 0.

    None when the path has fewer, or when a cookie cannot say them.
    """
    segments = path.split("/")[1:]
    if len(segments) < depth or ";" in path:
        return None
    return quote("/" + "/".join(segments[:depth]), safe="/%!$&'()*+,=:@~")


def _normal_escape(match: re.Match[str]) -> str:
    character = chr(int(match.group(1), 16))
    return character if character in _UNRESERVED else match.group().upper()
