"""Values of flags as people write them. Each raises ``argparse.ArgumentTypeError`` with what was wrong."""

import argparse
import math
import os
import re
from collections.abc import Mapping, Sequence

from choline_tui.kernel.errors import UsageError

__all__ = ["Positive", "disk", "duration", "environment", "money", "percent", "port", "secret_name"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Positive:
    """A whole number from 1 on."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {self.what}")
        return int(text)


def _number(text: str, low: float, high: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:  # NaN is in no range
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {what}")
    return value


def disk(text: str) -> float:
    """GB."""
    return _number(text, 1, 100_000, "a disk size (1 to 100000 GB)")


def money(text: str) -> float:
    """$/h."""
    return _number(text.removeprefix("$"), 1e-6, 100_000, "a price in $/h")


def percent(text: str) -> float:
    return _number(text.removesuffix("%"), 0, 1000, "a percentage (0 to 1000)")


def duration(text: str) -> float:
    """Seconds, from ``90s``, ``30m``, ``24h``, ``2d``."""
    from choline_tui.model.duration import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def port(text: str) -> str:
    """``8080``, ``8080:80`` or either with ``/tcp`` or ``/udp``: outside, inside, as Docker writes it."""
    found = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?(?:/(?:tcp|udp))?", text, re.ASCII)
    if found is None or not all(1 <= int(p) <= 65535 for p in (found[1], found[2] or found[1])):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a port, such as 8080 or 8080:80/tcp")
    return text


def environment(words: Sequence[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables of the run from ``NAME=VALUE``, or ``NAME``: its value here. UsageError for a bad one, and
    for a value that looks like a secret."""
    from choline_tui.model.tokens import token_kind

    found: dict[str, str] = {}
    for word in words:
        name, given, value = word.partition("=")
        if not _NAME.fullmatch(name):
            # never the value: it may be a secret
            raise UsageError(
                f"--env: {name[:40]!r} is not a name a variable can have", hint="Write --env NAME=VALUE."
            )
        if name.startswith("CHOLINE_"):
            raise UsageError(f"--env: {name[:40]} is set by choline itself", hint="Take another name.")
        if not given:
            if name not in environ:
                raise UsageError(
                    f"--env {name[:40]}: there is no such variable here",
                    hint=f"Set it first, or write --env {name[:40]}=VALUE.",
                )
            value = environ[name]
        if "\0" in value:
            raise UsageError(f"--env: the value of {name[:40]} holds a zero byte")
        kind = token_kind(value, name)
        if kind:
            raise UsageError(
                f"--env {name[:40]}: this looks like {kind}, and variables are kept in the open",
                hint=f"Say --secret {name[:40]}: its value is looked up here, and kept in no file.",
            )
        found[name] = value
    return found


def secret_name(text: str) -> str:
    """A name alone. UsageError, which never repeats what is none: it may be the value."""
    from choline_tui.model.tokens import why_not

    if not _NAME.fullmatch(text) or len(text) > 200:
        raise UsageError(
            "that is not a name a secret can have", hint="Only a name stands there, such as WANDB_API_KEY."
        )
    if why := why_not(text):
        raise UsageError(why, hint="Leave it out.")
    return text
