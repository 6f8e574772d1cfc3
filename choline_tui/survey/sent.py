"""Which files would go with the code, and how large they are: an estimate that starts no engine.

The rules are those of the frozen copy: git's own list where there is git, else all but litter; less
``exclude`` and ``.cholineignore``.
"""

import os
from collections.abc import Iterable

from choline_tui.model.patterns import Patterns
from choline_tui.survey.programs import Ask
from choline_tui.survey.tree import Tree, read_text

__all__ = ["IGNORE_FILE", "find_ignore_files", "sent_files"]

IGNORE_FILE = ".cholineignore"
_LIST = ("git", "-c", "core.quotePath=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard")


def sent_files(tree: Tree, ask: Ask, exclude: Iterable[str] = (), *, git: bool) -> dict[str, int]:
    """Path to bytes."""
    own = read_text(os.path.join(tree.top, IGNORE_FILE)).splitlines()
    patterns = Patterns([*own, *exclude])
    listed = ask(_LIST) if git else None
    names = [os.fsdecode(name) for name in (listed or b"").split(b"\0") if name]
    if not names:
        names = [name for name in tree.files if not name.endswith((".pyc", ".DS_Store"))]
    known: dict[bytes, bool] = {}
    found: dict[str, int] = {}
    for name in names:
        # a submodule, or a repository inside, is listed as its directory
        for path in [name] if name in tree.files else _inside(tree, name):
            if not patterns or not patterns.leaves_out_within(os.fsencode(path), known):
                found[path] = tree.files[path]
    return found


def find_ignore_files(tree: Tree) -> list[tuple[str, int]]:
    """(name, number of rules) of those at the top."""
    found = []
    for name in (".gitignore", IGNORE_FILE):
        lines = [line.strip() for line in tree.read(name).splitlines()]
        rules = [line for line in lines if line and not line.startswith("#")]
        if name in tree.files:
            found.append((name, len(rules)))
    return found


def _inside(tree: Tree, name: str) -> list[str]:
    """Files of a directory that git lists as one; none for a file that was deleted."""
    return tree.below(name) if os.path.isdir(os.path.join(tree.top, name)) else []
