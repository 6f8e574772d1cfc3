"""The files below a directory, bounded in number and time; links are never followed."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["MAX_FILES", "MAX_SCRIPTS", "SECONDS", "SKIPPED", "Tree", "read_text", "walk"]

MAX_FILES = 400_000
SECONDS = 10.0
"""after which a walk answers with what it has"""
MAX_SCRIPTS = 400
"""of a project, that are looked into"""
MAX_READ = 256 * 1024
"""bytes of one file that are looked into"""

SKIPPED = frozenset(
    (
        ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", ".ruff_cache",
        ".pytest_cache", ".ipynb_checkpoints", ".tox", ".nox", ".eggs",
    )
)  # fmt: skip
"""directories that are never looked into: what no run is sent"""


@dataclass
class Tree:
    """``files``: path relative to ``top`` (odd bytes as surrogates) to size in bytes; a link counts 0."""

    top: str
    files: dict[str, int] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    complete: bool = True

    def below(self, directory: str) -> list[str]:
        start = directory.rstrip("/") + "/"
        return [path for path in self.files if path.startswith(start)]

    def scripts(self) -> Iterator[tuple[str, str]]:
        """Path and text of Python files, the nearest to the top first, ``MAX_SCRIPTS`` at most."""
        found = sorted((p for p in self.files if p.endswith(".py")), key=lambda p: (p.count("/"), p))
        for path in found[:MAX_SCRIPTS]:
            yield path, self.read(path)

    def read(self, path: str) -> str:
        """The beginning of a text file of the project; '' when it is none, or cannot be read."""
        return read_text(os.path.join(self.top, path)) if path in self.files else ""


def read_text(path: str, limit: int = MAX_READ) -> str:
    """At most ``limit`` bytes of a regular file as text; '' when there is none. No pipe is waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return ""
            return file.read(limit).decode("utf-8", "replace").replace("\r\n", "\n")
    except (OSError, ValueError):
        return ""


def walk(top: str, clock: Callable[[], float], max_files: int = MAX_FILES, seconds: float = SECONDS) -> Tree:
    """Breadth first, so that what is cut off lies deepest. Raises OSError when ``top`` cannot be read."""
    tree = Tree(top)
    deadline = clock() + seconds
    level = [""]
    while level:
        deeper: list[str] = []
        for below in level:
            if clock() > deadline:
                tree.complete = False
                return tree
            try:
                with os.scandir(os.path.join(top, below) if below else top) as entries:
                    for entry in entries:
                        path = below + entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if entry.name not in SKIPPED and not entry.name.endswith(".egg-info"):
                                deeper.append(path + "/")
                        elif entry.is_symlink():
                            tree.files[path] = 0
                        else:
                            seen = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(seen.st_mode):
                                tree.files[path] = seen.st_size
                        if len(tree.files) >= max_files:
                            tree.complete = False
                            return tree
            except OSError:
                if not below:
                    raise
                tree.unreadable.append(below)
        level = sorted(deeper)
    return tree
