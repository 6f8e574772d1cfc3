"""Public key lines, and the market's several forms of a list of them."""

import re
from typing import Any

from choline_tui.kernel.errors import BadRequest, MarketDown
from choline_tui.model.market_types import foreign_json, salvage
from choline_tui.vast.types import SshKey

__all__ = ["parse_keys", "public_key", "same_key"]

_LINE = re.compile(
    r"([a-z0-9@.-]{4,64}) ([A-Za-z0-9+/]{32,8192}={0,3})(?: [^\r\n\x00-\x1f]{0,200})?", re.ASCII
)


def public_key(text: str) -> str:
    """An OpenSSH public key line without its newline. Raises BadRequest for anything else, above all for
    a path or a private key."""
    line = text.strip()
    if not _LINE.fullmatch(line):
        raise BadRequest(
            "this is not an OpenSSH public key line", hint="It begins like 'ssh-ed25519 AAAA...'."
        )
    return line


def same_key(line: str, other: str | None) -> bool:
    """Type and key are equal; comments do not matter."""
    return other is not None and line.split()[:2] == other.split()[:2]


def parse_keys(body: Any) -> tuple[SshKey, ...]:
    """A bare array, ``{"ssh_keys": [...]}``, or the same with the array as a JSON text. Raises MarketDown."""
    rows = body.get("ssh_keys") if isinstance(body, dict) else body
    if isinstance(rows, str):
        try:
            rows = foreign_json(rows.encode("utf-8", "replace"))
        except ValueError:
            rows = None
    if not isinstance(rows, list):
        raise MarketDown("the market's list of SSH keys is malformed")
    keys = (salvage(SshKey, row, vital=frozenset()) for row in rows)
    return tuple(key for key in keys if key is not None and key.key)
