"""One look of git's at a whole working tree, such that "clean" means "the same bytes".

Whatever lets a file differ in mode or kind, or have other times, and be clean for git (settings, flags of the
index, submodules) closes this way: nothing is said then, and every file is looked at. So does a repository
inside this one, of which git says its name only.

Where bytes may differ and be clean (line ends, filters), git is asked as well which files have other times
than its index names: what then counts is that a file was not written, not what git makes of it.
"""

import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from choline_tui.codestate import index
from choline_tui.codestate.repository import CONFIG, STATUS, Standing, asked, settings, standing
from choline_tui.kernel.errors import ProjectError

__all__ = ["Sight", "attributes_in", "converting", "index_file", "look", "plain_settings", "read_index"]

_BAD_CONFIG = re.compile(
    rb"(?:^|\0)(?:core\.(?:worktree|fsmonitor|untrackedcache|splitindex|checkstat|ignorestat|trustctime|"
    rb"sparsecheckout)\n|core\.(?:filemode|symlinks)\nfalse|index\.|feature\.|"
    rb"extensions\.(?:objectformat|refstorage)\n)"
)
"""settings by which a file may be clean whose mode, kind or times are others, or by which the index may be of
a form that is not read"""
_CONVERTING = re.compile(rb"(?:^|\0)(?:core\.(?:autocrlf|eol|attributesfile)\n|filter\.(?!lfs\.)|attr\.)")
"""settings by which a file may be clean whose bytes are others"""
_TIMES = ("diff-files", "--name-only", "-z", "--no-renames")
"""compares times and sizes only (git-diff-files(1)), the content where these may be too coarse to tell"""
_SYSTEM = ("/etc", "/usr/etc", "/usr/local/etc", "/opt/homebrew/etc", "/opt/local/etc")
"""where builds of git look for attributes of the whole computer"""


@dataclass(frozen=True)
class Sight:
    words: tuple[str, bytes, bytes, bytes | None]
    """all that git said, as one comparable value"""
    stand: Standing
    config: dict[bytes, bytes]
    written: frozenset[bytes] | None
    """files that have other times than in the index; None: not asked, for no bytes are converted here"""


def look(top: str, meanwhile: Callable[[], bool]) -> Sight | None:
    """What git says of the repository whose top is ``top``; None where the way is closed. ``meanwhile`` is
    called while git looks, and tells whether bytes may be converted."""
    file = index_file(top)
    before = index.mark(file)
    if not before or not os.path.isdir(os.path.join(top, ".git")):
        return None
    try:
        with ThreadPoolExecutor(2) as pool:
            status = pool.submit(asked, top, *STATUS)
            config = pool.submit(asked, top, *CONFIG)
            times = None
            if meanwhile() or converting(config.result()):
                times = asked(top, *_TIMES)
            words = before, status.result(), config.result(), times
        if not plain_settings(words[2]) or index.mark(file) != before:
            return None
        stand = standing(words[1])
    except ProjectError:
        return None
    if any(path.endswith(b"/") for path in stand.changes):
        return None  # a repository inside this one
    return Sight(words, stand, settings(words[2]), None if times is None else frozenset(times.split(b"\0")))


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


def converting(config: bytes) -> bool:
    """Whether bytes may be converted, by the settings."""
    return _CONVERTING.search(config) is not None


def attributes_in(top: str, folders: Iterable[bytes]) -> bool:
    """Whether bytes may be converted, by attributes that git reads from somewhere; ``folders``: those of the
    repository's files, relative, with a slash. Git reads such a file whether it is tracked, ignored, or
    neither."""
    if "GIT_ATTR_SOURCE" in os.environ:
        return True
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    others = [os.path.join(top, ".git", "info", "attributes"), os.path.join(base, "git", "attributes")]
    others += [os.path.join(place, "gitattributes") for place in _SYSTEM]
    start = os.fsencode(top) + b"/"
    return any(map(os.path.lexists, others)) or any(
        os.path.lexists(start + folder + b".gitattributes") for folder in folders
    )
