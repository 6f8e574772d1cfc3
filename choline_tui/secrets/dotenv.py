"""Variables in a ``.env`` file, read as data: nothing in it is run, and no variable is filled in.

What python-dotenv and a shell's ``set -a; . ./.env`` agree on: ``NAME=value``, ``export NAME=value``, ``#``
comments, values bare or in single or double quotes; quoted ones may go over several lines.
"""

import re
from pathlib import Path

from choline_tui.kernel.errors import ConfigError

__all__ = ["MAX_FILE", "names_in", "read_dotenv"]

MAX_FILE = 1 << 20
"""bytes: a larger file is something else"""

_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*
        (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\r\n'"][^\r\n]*)?)""",
    re.ASCII | re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables, the last of a name counts; empty when there is no such file.

    Raises ConfigError, without any of its text, for a file that cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", hint="Mend it.") from None
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path} is too large to be a file of variables", hint="Make it smaller.")
    found: dict[str, str] = {}
    text = data.decode("utf-8-sig", "replace")
    at = 0
    while match := _LINE.search(text, at):
        at = max(match.end(), at + 1)
        found[match["name"]] = _value(match)
    return found


def names_in(path: Path) -> list[str]:
    """Names alone, in the order of the file; empty when it cannot be read."""
    try:
        return list(read_dotenv(path))
    except ConfigError:
        return []


def _value(match: "re.Match[str]") -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), match["double"], flags=re.DOTALL)
    # a comment begins with a blank before it: a value may hold the sign itself
    return re.split(r"[ \t]+#", match["bare"] or "")[0].strip() if not _comment(match) else ""


def _comment(match: "re.Match[str]") -> bool:
    return (match["bare"] or "").startswith("#")
