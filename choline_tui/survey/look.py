"""``survey``: look at a project's directory once, in bounded time, and tell what is there."""

import os
import time
from collections.abc import Callable, Iterable, Mapping

from choline_tui.kernel.errors import ProjectError
from choline_tui.survey.commands import find_commands
from choline_tui.survey.cudnn import find_cudnn
from choline_tui.survey.environment import (
    find_cuda,
    find_dependencies,
    find_images,
    find_packages,
    find_python,
    read_pyproject,
)
from choline_tui.survey.found import Finding, Survey, tellable
from choline_tui.survey.needs import find_needs
from choline_tui.survey.places import find_directories, find_large, find_secrets, find_trackers
from choline_tui.survey.programs import Ask, asker
from choline_tui.survey.sent import find_ignore_files, sent_files
from choline_tui.survey.tree import MAX_FILES, SECONDS, Tree, walk

__all__ = ["size_of", "survey"]


def survey(
    directory: str,
    environ: Mapping[str, str],
    *,
    history: bool = False,
    exclude: Iterable[str] = (),
    clock: Callable[[], float] = time.monotonic,
    ask: Ask | None = None,
) -> Survey:
    """What a project looks like. Blocks for seconds at most: every walk and program has its limit.

    ``environ``: where the active environment, HOME and PATH are read; ``history``: shells' histories may be
    read; ``exclude``: patterns of code that is not sent. Raises ProjectError when the directory cannot be
    read.
    """
    top = os.path.abspath(directory)
    try:
        tree = walk(top, clock)
    except OSError as error:
        raise ProjectError(f"cannot read the directory {top}: {error.strerror or error}") from None
    ask = ask or asker(top, environ)
    found = Survey(top)
    found.git = _git(ask)
    sent = sent_files(tree, ask, exclude, git=found.git is not None)
    pyproject = read_pyproject(tree)
    found.commands = find_commands(tree, pyproject, environ, history)
    found.python = find_python(tree, pyproject, environ)
    found.dependencies = find_dependencies(tree, pyproject)
    found.packages = find_packages(tree, environ)
    found.cuda, found.gpus = find_cuda(tree, found.packages, ask)
    found.cudnn = find_cudnn(tree, found.packages, environ)
    found.images = find_images(tree)
    first = found.commands[0].value if found.commands else ""
    found.data, found.results = find_directories(tree, sent, first)
    found.large = find_large(sent)
    found.trackers = find_trackers(tree)
    find_secrets(tree, sent, environ, found)
    found.needs = find_needs(tree)
    found.ignore_files = find_ignore_files(tree)
    found.sent_files, found.sent_bytes = len(sent), sum(sent.values())
    found.notes = _notes(tree)
    return found


def _git(ask: Ask) -> Finding | None:
    inside = ask(("git", "rev-parse", "--show-toplevel"))
    if inside is None:
        return None
    commit = (ask(("git", "rev-parse", "--short=8", "HEAD")) or b"").decode("utf-8", "replace").strip()
    branch = (ask(("git", "rev-parse", "--abbrev-ref", "HEAD")) or b"").decode("utf-8", "replace").strip()
    note = f"branch {branch}" if branch and branch != "HEAD" and tellable(branch) else ""
    return Finding(commit or "no commit yet", "git", note)


def _notes(tree: Tree) -> list[str]:
    found = []
    if not tree.complete:
        found.append(f"only the first {len(tree.files)} files were looked at: the directory is very large")
    if tree.unreadable:
        first = tree.unreadable[0].rstrip("/")
        more = f" and {len(tree.unreadable) - 1} more" if len(tree.unreadable) > 1 else ""
        found.append(f"{first!r}{more} cannot be read")
    return found


def size_of(path: str, clock: Callable[[], float] = time.monotonic) -> tuple[int, bool]:
    """(bytes, whether all was counted) of a file or a directory. Raises OSError."""
    if not os.path.isdir(path):
        return os.stat(path).st_size, True
    tree: Tree = walk(path, clock, MAX_FILES, SECONDS)
    return sum(tree.files.values()), tree.complete and not tree.unreadable
