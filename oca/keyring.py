"""Commands for people who sign: `oca keygen` makes keys, `oca sign` makes signed URIs with them."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from urllib.parse import urlsplit

import click

from oca.tokens import read_token_file
from wire.durable import write_new
from wire.errors import WireError
from wire.keys import SigningKey, b64url, new_private_pem, parse_private_key, public_text
from wire.token import COOKIE, Token, folder_scope, hash_scope, mint
from wire.tokenuri import normal_uri, signed_uri

SECRET_BYTES = 32  # RFC 7518 §3.2: as long as the hash

EXAMPLES = """
\b
Examples:
  oca keygen tokens.toml --kind hs256
  oca serve --root ~/hls --token-keys tokens.toml
  oca sign --token-keys tokens.toml http://127.0.0.1:8080/film/master.m3u8
"""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--kind", type=click.Choice(["ed25519", "es256", "hs256"]), default="ed25519",
              show_default=True)  # fmt: skip
@click.option("--kid", default="k1", show_default=True, help="With hs256: the name of the key.")
def keygen(file: str, kind: str, kid: str) -> None:
    """Make a private key in FILE (mode 600), and print its public half for the fleet file.

    With --kind hs256, which has no public half, FILE is a file for `oca serve --token-keys` and
    `oca sign`: whoever can read it can sign. A file that exists is refused.

    \b
    Examples:
      oca keygen /etc/oca/box-1.pem              # a box's own key: public_key in the fleet file
      oca keygen signing.pem --kind es256        # signs URLs; its public half into token_keys
      oca keygen tokens.toml --kind hs256        # shared: for one folder on one machine
    """
    path = Path(file)
    if path.exists():
        raise click.ClickException(f"{file} exists; a key is never overwritten")
    shared = f'token_keys = {{ "{kid}" = "hs256:{b64url(secrets.token_bytes(SECRET_BYTES))}" }}\n'
    content = shared.encode() if kind == "hs256" else new_private_pem(kind)
    write_new(path, content)
    if kind == "hs256":
        click.echo(f"now: oca serve --root DIR --token-keys {file}")
    else:
        click.echo(public_text(parse_private_key(content, "", file)))


@click.command(epilog=EXAMPLES)
@click.argument("url")
@click.option("--token-keys", type=click.Path(exists=True, dir_okay=False), help="Shared keys.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Or a PEM private key.")
@click.option("--kid", default="", help="Which key; needed with --key, or where there are several.")
@click.option("--life", "life_s", type=click.FloatRange(1), default=3600.0,
              show_default=True, help="Seconds it is good for.")  # fmt: skip
@click.option("--only", is_flag=True, help="This one URL and query, not its whole folder.")
@click.option("--client", default="", help="For this address or prefix alone: 192.0.2.0/24.")
@click.option(
    "--renew",
    "renew_s",
    type=click.FloatRange(1),
    help="A chain: each answer sets a cookie for so many seconds.",
)
def sign(
    url: str,
    token_keys: str | None,
    key: str | None,
    kid: str,
    life_s: float,
    only: bool,
    client: str,
    renew_s: float | None,
) -> None:
    """Print URL with a token (RFC 9246) that opens its folder, and what is below, for an hour.

    The token stands in the folder part, so the relative URLs of a playlist inherit it; with --only
    or --renew, and for files at the top, it stands in the query. What is no such URL is refused.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
        raise click.UsageError("URL is what the player will ask: http://host/folder/file")
    uri = normal_uri(parts.scheme, parts.netloc, parts.path, parts.query or None)
    token = Token(
        exp=int(time.time() + life_s),
        cdniuc=hash_scope(uri) if only else folder_scope(uri),
        cdniip=client,
        cdnistt=0 if renew_s is None else COOKIE,
        cdniets=renew_s,
        cdnistd=0 if renew_s is None else parts.path.count("/") - 1,
    )
    package = mint(token, _signer(token_keys, key, kid))
    click.echo(signed_uri(uri, package, in_folder=not only and renew_s is None))


def _signer(token_keys: str | None, key: str | None, kid: str) -> SigningKey:
    """The key to sign with; raises WireError when it is not clear which."""
    if (token_keys is None) == (key is None):
        raise click.UsageError("say either --token-keys FILE or --key PEM")
    if key is not None:
        if not kid:
            raise click.UsageError("--key needs --kid: its name in the server's token_keys")
        return parse_private_key(Path(key).read_bytes(), kid, key)
    what = str(token_keys)
    rules = read_token_file(Path(what).read_bytes(), what)
    shared = [name for name, known in rules.keys.items() if known.alg == "HS256"]
    chosen = [name for name in shared if not kid or name == kid]
    if len(chosen) != 1:
        hint = "choose one by --kid: " + ", ".join(shared) if shared else "use --key PEM --kid"
        raise WireError(what, "token_keys", "no single shared key to sign with", hint=hint)
    found = rules.keys[chosen[0]]
    return SigningKey(found.alg, found.key, chosen[0])
