"""Texts that look like a secret: what must not stand in a project's file or on a command line.

The forms are those that the services themselves give for scanners of secrets: a fixed beginning and a length.
"""

import re

__all__ = ["TOO_OPEN", "is_secret_name", "token_kind", "why_not"]

TOO_OPEN = (
    'Take it out, and name it: secrets = ["{name}"]. Its value stays in the environment, in .env, or in the '
    "keyring ('choline secrets set {name}')"
)

_FORMS = (
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{20,}"),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}"),
    ("a GitLab token", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("a Weights & Biases key", r"wandb_v\d_[A-Za-z0-9_-]{20,}"),
    ("an AWS key", r"(?:AKIA|ASIA)[A-Z0-9]{16}"),
    ("a Google key", r"AIza[A-Za-z0-9_-]{35}"),
    ("a Slack token", r"xox[abprs]-[A-Za-z0-9-]{10,}"),
    ("a Docker token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    ("a PyPI token", r"pypi-AgE[A-Za-z0-9_-]{30,}"),
    ("an npm token", r"npm_[A-Za-z0-9]{30,}"),
    ("an API key", r"sk-(?=[\w-]*[0-9])(?=[\w-]*[A-Z])[A-Za-z0-9_-]{20,}"),
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    # a key of 40 hexadecimal digits looks like a commit: what stands before it tells them apart
    ("a Weights & Biases key", r"(?i:wandb[\w .:=\"'-]{0,40}?)[0-9a-f]{40}(?![0-9a-fA-F])"),
)
_ANY = tuple((kind, re.compile(rf"(?<![A-Za-z0-9_-])(?:{form})")) for kind, form in _FORMS)
_HEX = re.compile(r"[0-9a-f]{32,128}")
_OPAQUE = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_.~-]{20,}")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_KEY(?:_ID)?|PRIVATE_KEY|PAT)$",
    re.IGNORECASE,
)


def token_kind(text: str, name: str = "") -> str:
    """What kind of secret ``text`` holds, for a person; '' when it looks like none. ``name``: of the variable
    whose value it is, which makes texts without a known form suspicious, too."""
    for kind, form in _ANY:
        if form.search(text):
            return kind
    if name and is_secret_name(name):
        value = text.strip()
        if _HEX.fullmatch(value) or (_OPAQUE.fullmatch(value) and not value.startswith(("/", "~", "."))):
            return "a secret"
    return ""


def why_not(name: str) -> str:
    """Why a variable of this name cannot be a run's secret; '' when it can."""
    if name.startswith("CHOLINE_"):
        return f"{name[:60]} is set by choline itself"
    if name in ("VAST_API_KEY", "VASTAI_API_KEY", "CONTAINER_API_KEY"):
        return f"{name} is the key to your account, and never goes to a machine"
    return ""


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret, by how such are called."""
    return bool(_SECRET_NAME.search(name))
