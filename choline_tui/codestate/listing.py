"""Which files of a project are sent, by name: git's own where there is git, else all but the usual litter."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from choline_tui.codestate.patterns import Patterns
from choline_tui.codestate.repository import list_files
from choline_tui.kernel.errors import ProjectError

__all__ = ["IGNORE_FILE", "LITTER", "Listing", "find_files", "look_at"]

IGNORE_FILE = ".cholineignore"

LITTER = (
    ".git",
    ".hg",
    ".svn",
    "__pycache__/",
    "*.pyc",
    ".venv/",
    "venv/",
    "node_modules/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".ipynb_checkpoints/",
    ".tox/",
    ".DS_Store",
    "*.egg-info/",
)
"""left out where no git says what belongs to the project"""

_ALWAYS = Patterns([".git"])


@dataclass
class Listing:
    """Names relative to the project, sorted, each with what ``lstat`` said; what was left out, and why."""

    files: list[tuple[bytes, os.stat_result]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    used_git: bool = False


def find_files(project: str, patterns: Patterns, git: bool) -> Listing:
    """Regular files and symbolic links to send. ``git``: whether git is asked; if it names no file though
    there are some (the project lies in an ignored folder of another repository), all are taken.

    ``ProjectError`` when a directory cannot be read.
    """
    listing = Listing()
    top = os.fsencode(project)
    if git:
        _by_git(top, b"", list_files(project), patterns, listing)
        listing.used_git = bool(listing.files)
    if not listing.used_git:
        _by_walk(top, b"", _both(patterns), listing)
    return _sorted(listing)


def look_at(project: str, names: Iterable[bytes], patterns: Patterns) -> Listing:
    """As ``find_files``, of these names only, which git has named."""
    listing = Listing(used_git=True)
    _by_git(os.fsencode(project), b"", names, patterns, listing)
    return _sorted(listing)


def _sorted(listing: Listing) -> Listing:
    listing.files.sort(key=lambda item: item[0])
    listing.warnings.sort()
    return listing


class _both:
    """The litter, then the project's own patterns; a project's ``!`` does not bring litter back."""

    def __init__(self, patterns: Patterns) -> None:
        self._litter, self._own = Patterns(LITTER), patterns

    def leaves_out(self, path: bytes, directory: bool) -> bool:
        return self._litter.leaves_out(path, directory) or self._own.leaves_out(path, directory)


def _by_git(top: bytes, prefix: bytes, names: Iterable[bytes], patterns: Patterns, listing: Listing) -> None:
    known: dict[bytes, bool] = {}
    always: dict[bytes, bool] = {}
    linked: dict[bytes, bool] = {}
    for name in names:
        path = prefix + name
        if patterns.leaves_out_within(path, known) or (
            b".git" in path and _ALWAYS.leaves_out_within(path, always)
        ):
            continue
        try:
            seen = os.lstat(top + b"/" + path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted, and git not told yet
        if _beyond_link(top, path, linked):
            continue  # deleted as well: what is there belongs to where the link leads
        if not stat.S_ISDIR(seen.st_mode):
            _take(path, seen, listing)
        elif patterns.leaves_out(path, True):
            continue
        elif os.path.lexists(os.path.join(top, path, b".git")):
            inner = list_files(os.fsdecode(os.path.join(top, path)))
            _by_git(top, path + b"/", inner, patterns, listing)
        else:
            listing.warnings.append(f"submodule {os.fsdecode(path)!r} is not checked out and is not sent")


def _beyond_link(top: bytes, path: bytes, known: dict[bytes, bool]) -> bool:
    """Whether a directory above ``path``, below ``top``, is a symbolic link."""
    folder = path.rpartition(b"/")[0]
    if not folder:
        return False
    if folder not in known:
        known[folder] = _beyond_link(top, folder, known) or os.path.islink(top + b"/" + folder)
    return known[folder]


def _by_walk(top: bytes, prefix: bytes, patterns: _both, listing: Listing) -> None:
    pending = [prefix]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(os.path.join(top, below) if below else top) as entries:
                for entry in entries:
                    path = below + entry.name
                    directory = entry.is_dir(follow_symlinks=False)
                    if patterns.leaves_out(path, directory):
                        continue
                    if directory:
                        pending.append(path + b"/")
                    else:
                        _take(path, entry.stat(follow_symlinks=False), listing)
        except FileNotFoundError:
            if not below:
                raise ProjectError(f"there is no directory {os.fsdecode(top)}") from None
        except OSError as error:
            raise ProjectError(
                f"cannot read the directory {os.fsdecode(os.path.join(top, below))!r}: {error.strerror}",
                hint=f"Correct its permissions, or leave it out: name it in {IGNORE_FILE}.",
            ) from None


def _take(path: bytes, seen: os.stat_result, listing: Listing) -> None:
    if stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode):
        listing.files.append((path, seen))
    else:
        listing.warnings.append(f"{os.fsdecode(path)!r} is no file and is not sent")
