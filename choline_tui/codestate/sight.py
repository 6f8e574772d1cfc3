"""One look of git's at a whole working tree, and whether "clean" then means "the same bytes".

Whatever lets a file differ in bytes, mode or kind and be clean for git (filters, line ends, flags of the
index, submodules) closes this way: nothing is said then, and every file is looked at. So does a repository
inside this one, of which git says its name only.
"""

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from choline_tui.codestate import index
from choline_tui.codestate.repository import CONFIG, STATUS, Standing, run_git, settings, standing
from choline_tui.kernel.errors import ProjectError

__all__ = ["Sight", "attributes_in", "index_file", "look", "plain_settings", "read_index"]

_BAD_CONFIG = re.compile(
    rb"(?:^|\0)(?:core\.(?:autocrlf|eol|attributesfile|worktree|fsmonitor|untrackedcache|splitindex|"
    rb"checkstat|ignorestat|trustctime|sparsecheckout)\n|core\.(?:filemode|symlinks)\nfalse|"
    rb"filter\.(?!lfs\.)|index\.|attr\.|feature\.|extensions\.(?:objectformat|refstorage)\n)"
)
"""settings by which status may call a file clean whose bytes, mode or kind are others, or by which the
index may be of a form that is not read"""
_SYSTEM = ("/etc", "/usr/etc", "/usr/local/etc", "/opt/homebrew/etc", "/opt/local/etc")
"""where builds of git look for attributes of the whole computer"""


@dataclass(frozen=True)
class Sight:
    """``words``: all that git said, as one comparable value."""

    words: tuple[str, bytes, bytes]
    stand: Standing
    config: dict[bytes, bytes]


def look(top: str, meanwhile: Callable[[], None]) -> Sight | None:
    """What git says of the repository whose top is ``top``; None where the way is closed. ``meanwhile`` is
    called while git looks."""
    file = index_file(top)
    before = index.mark(file)
    if not before or not os.path.isdir(os.path.join(top, ".git")) or "GIT_ATTR_SOURCE" in os.environ:
        return None
    try:
        with ThreadPoolExecutor(2) as pool:
            asked_status = pool.submit(run_git, top, *STATUS)
            asked_config = pool.submit(run_git, top, *CONFIG)
            meanwhile()
            failed, out, _ = asked_status.result()
            failed_too, config, _ = asked_config.result()
        if failed or failed_too or not plain_settings(config) or index.mark(file) != before:
            return None
        stand = standing(out)
    except ProjectError:
        return None
    if any(path.endswith(b"/") for path in stand.changes):
        return None  # a repository inside this one
    return Sight((before, out, config), stand, settings(config))


def index_file(top: str) -> str:
    return os.path.join(top, ".git", "index")


def read_index(top: str) -> bytes:
    """The file as it is; b'' when there is none."""
    try:
        with open(index_file(top), "rb") as file:
            return file.read()
    except OSError:
        return b""


def plain_settings(config: bytes) -> bool:
    return not _BAD_CONFIG.search(config)


def attributes_in(top: str, folders: Iterable[bytes]) -> bool:
    """Whether git may read attributes from somewhere; ``folders``: those of the repository's files, relative,
    with a slash. Git reads such a file whether it is tracked, ignored, or neither."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    others = [os.path.join(top, ".git", "info", "attributes"), os.path.join(base, "git", "attributes")]
    others += [os.path.join(place, "gitattributes") for place in _SYSTEM]
    start = os.fsencode(top) + b"/"
    return any(map(os.path.lexists, others)) or any(
        os.path.lexists(start + folder + b".gitattributes") for folder in folders
    )
