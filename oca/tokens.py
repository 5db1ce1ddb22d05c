"""What an operator says of tokens: whose keys, for whom, and the shared keys of a plain folder.

Pure. An appliance has it in its configuration, `oca serve --root --token-keys` in a file of its own
with the same words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wire.errors import WireError
from wire.keys import VerifyKey, parse_verify_key
from wire.knobs import knob, read_config, required
from wire.token import Policy
from wire.tokenclient import parse_client_key


@dataclass(frozen=True, slots=True)
class Tokens:
    """What tokens (RFC 9246) must say beside having the signature of one of `token_keys`."""

    issuers: dict[str, str] = knob(
        {}, why="kid → the only `iss` it may sign for; a key that is not named here may sign any."
    )
    audience: list[str] = knob(
        [], why="Names of ours: a token with `aud` must have one of them, or the appliance's id."
    )
    client_keys: dict[str, str] = knob(
        {}, why="What opens an encrypted `cdniip`: kid → `a128gcm:…`, `a256gcm:…`, `a256kw:…`, …"
    )

    def policy(self, names: Iterable[str] = ()) -> Policy:
        """These rules as a verifier takes them; `names` are ours as well. Raises WireError."""
        keys = {
            kid: parse_client_key(text, f"tokens.client_keys.{kid}")
            for kid, text in self.client_keys.items()
        }
        return Policy(self.issuers, frozenset((*self.audience, *names)), keys)


@dataclass(frozen=True, slots=True)
class TokenFile:
    """The file of `--token-keys`: who may sign URLs of a plain folder."""

    token_keys: dict[str, str] = required("Who may sign: kid → `hs256:…`, `es256:…`, `ed25519:…`.")
    tokens: Tokens = field(default_factory=Tokens)


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Keys by kid, and the rules for what they signed."""

    keys: Mapping[str, VerifyKey]
    policy: Policy


def verify_keys(token_keys: Mapping[str, str]) -> dict[str, VerifyKey]:
    """The keys that may have signed a URL, by kid; raises WireError naming the bad one."""
    return {kid: parse_verify_key(text, f"token_keys.{kid}") for kid, text in token_keys.items()}


def read_token_file(raw: bytes, what: str) -> TokenRules:
    """Read the TOML of `--token-keys`; raises WireError naming the file (`what`) and the field."""
    file = read_config(TokenFile, raw, what)
    if not file.token_keys:
        raise WireError(what, "token_keys", "no key, so nobody could be served")
    return TokenRules(verify_keys(file.token_keys), file.tokens.policy())
