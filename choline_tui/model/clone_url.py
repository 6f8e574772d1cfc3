"""From the address of a git remote to what a rented machine can clone from, and the token that opens it."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from choline_tui.kernel.source import loopback

__all__ = ["clone_url", "token_for"]

_TOKENS = {"github.com": ("GITHUB_TOKEN", "GH_TOKEN"), "gitlab.com": ("GITLAB_TOKEN", "GITLAB_PRIVATE_TOKEN")}
"""by host: names under which its tokens are known. No other host is given them"""
_SSH = re.compile(r"(?:(?:git\+)?ssh(?:\+git)?://)?(?:[^@/\s]+@)?([A-Za-z0-9.-]+)(?::\d+/|[:/])(.+)")


def clone_url(remote: str) -> tuple[str, str]:
    """(address, ''), or ('', why there is none, for a person). ``remote`` is without credentials. Of hosts
    that serve the same repositories by both, ``ssh`` becomes ``https``: no key goes to a machine."""
    scheme = remote.partition("://")[0].lower() if "://" in remote else ""
    if scheme in ("https", "http"):
        return _web(remote, scheme)
    if scheme in ("", "ssh", "git+ssh", "ssh+git"):
        found = _SSH.fullmatch(remote) if scheme or _scp(remote) else None
        if found is None:
            return "", "its remote is a directory of this computer"
        host = found[1].lower().removeprefix("ssh.")
        if host in _TOKENS:
            return _web(f"https://{host}/{found[2].lstrip('/')}", "https")
        return "", f"{host[:100]} is reached by ssh, and your keys and agent go to no rented machine"
    if scheme == "file":
        return "", "its remote is a directory of this computer"
    return "", f"its remote is reached by {scheme[:20]}://, and machines clone by https:// only"


def _scp(remote: str) -> bool:
    """``host:path``, as git tells it from a path: no slash before the first colon."""
    return ":" in remote and "/" not in remote.partition(":")[0]


def _web(url: str, scheme: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or len(parts.path) < 2 or "@" in parts.netloc or not url.isprintable() or " " in url:
        return "", "the address of its remote is none that can be cloned from"
    if scheme == "http" and not loopback(host):
        return "", "its remote is reached by http://, which anybody on the way may change"
    return f"{scheme}://{parts.netloc}{parts.path}", ""


def token_for(url: str, secrets: Collection[str], named: str = "") -> str:
    """Which of a run's secrets the server of ``url`` is given: the one that the project names, or one that is
    called as this host's tokens are; '' for none."""
    if named:
        return named if named in secrets else ""
    known = _TOKENS.get((urlsplit(url).hostname or "").lower(), ())
    return next((name for name in known if name in secrets), "")
