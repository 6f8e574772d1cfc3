"""What git knows about a project: where it stands, and which files are its own."""

import os
import re
from dataclasses import dataclass

from choline_tui.codestate.patterns import Patterns
from choline_tui.kernel.errors import ProjectError

__all__ = ["Position", "list_files", "position", "without_credentials"]

_UNSET = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_COMMON_DIR")
"""set inside a git hook; they would turn our questions to another repository"""


@dataclass(frozen=True)
class Position:
    commit: str = ""
    message: str = ""
    branch: str = ""
    remote: str = ""
    dirty_count: int = 0


def _git(directory: str, *words: str) -> tuple[int, bytes, str]:
    """Exit status, output and complaint of one git command. ``ProjectError`` when git cannot be run."""
    try:
        # late: the import looks for the program and fails without it
        from git import Git, GitCommandNotFound
    except ImportError:
        raise ProjectError(
            f"{directory} is in a git repository, but git is not installed",
            hint="Install git; choline asks it which files belong to the project.",
        ) from None
    unset = [word for name in _UNSET for word in ("-u", name)]
    try:
        status, out, complaint = Git(directory).execute(
            ["env", *unset, "git", "-c", "core.quotePath=false", *words],
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            env={"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        )
    except (GitCommandNotFound, OSError) as error:
        raise ProjectError(f"git cannot be run in {directory}: {error}") from None
    return status, out if isinstance(out, bytes) else b"", str(complaint)


def _asked(directory: str, *words: str) -> bytes:
    status, out, complaint = _git(directory, *words)
    if status:
        raise _refusal(directory, complaint)
    return out


def _refusal(directory: str, complaint: str) -> ProjectError:
    if "dubious ownership" in complaint:
        return ProjectError(
            f"git does not trust {directory}: it belongs to another user",
            hint=f"If you do: git config --global --add safe.directory '{directory}'",
        )
    line = next((text for text in complaint.splitlines() if text.strip()), "it gave no reason")
    return ProjectError(f"git refuses in {directory}: {_line(line.encode('utf-8', 'replace'))}")


def _line(raw: bytes, limit: int = 200) -> str:
    """Foreign bytes as one line of text: no control characters, bounded."""
    text = raw.decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else " " for c in text[:limit])


def _in_repository(directory: str) -> bool:
    here = os.path.abspath(directory)
    while True:
        if os.path.lexists(os.path.join(here, ".git")):
            return True
        above = os.path.dirname(here)
        if above == here:
            return False
        here = above


def position(directory: str, patterns: Patterns) -> Position | None:
    """Commit, branch, remote and what differs from the commit, of the repository around ``directory``;
    None without one. What ``patterns`` leave out does not count as a difference."""
    if not _in_repository(directory):
        return None
    status, out, complaint = _git(directory, "rev-parse", "--is-inside-work-tree", "--show-prefix")
    if status:
        if "not a git repository" in complaint:
            return None
        raise _refusal(directory, complaint)
    inside, _, prefix = out.partition(b"\n")
    if inside.strip() != b"true":
        return None
    prefix = prefix.rstrip(b"\n")
    status, out, _ = _git(directory, "log", "-1", "--no-show-signature", "--format=%H%x00%s")
    commit, _, message = out.partition(b"\0") if status == 0 else (b"", b"", b"")
    status, out, _ = _git(directory, "symbolic-ref", "--short", "-q", "HEAD")
    branch = _line(out) if status == 0 else ""
    return Position(
        commit=_line(commit),
        message=_line(message),
        branch=branch,
        remote=_remote(directory, branch),
        dirty_count=_dirty(directory, prefix, patterns),
    )


def _remote(directory: str, branch: str) -> str:
    names = []
    if branch:
        status, out, _ = _git(directory, "config", "--get", f"branch.{branch}.remote")
        if status == 0 and _line(out) not in ("", "."):
            names.append(_line(out))
    for name in [*names, "origin"]:
        status, out, _ = _git(directory, "config", "--get", f"remote.{name}.url")
        if status == 0 and out.strip():
            return without_credentials(_line(out, 500))
    return ""


def without_credentials(url: str) -> str:
    """A remote's URL fit to be stored and shown: no password, no token, no query. A name before ``@``
    stays for ssh (it is the same for everyone: git@) and goes for anything else."""
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(.*)", url, re.DOTALL)
    if not found:
        return url
    scheme, place, rest = found[1], found[2], re.split(r"[?#]", found[3])[0]
    user, at, host = place.rpartition("@")
    if at and scheme.lower() in ("ssh", "git+ssh", "ssh+git"):
        user = user.split(":")[0]
        host = f"{user}@{host}" if user else host
    return f"{scheme}://{host}{rest}"


def _dirty(directory: str, prefix: bytes, patterns: Patterns) -> int:
    out = _asked(
        directory, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", "."
    )
    known: dict[bytes, bool] = {}
    count = 0
    for entry in out.split(b"\0"):
        path = entry[3:]
        if path and not patterns.leaves_out_within(path.removeprefix(prefix), known):
            count += 1
    return count


def list_files(directory: str) -> list[bytes]:
    """Tracked files, and untracked ones that are not ignored, below ``directory``; relative, unsorted. A
    name may be gone from the disk, or be a directory (a submodule, or a repository inside this one)."""
    out = _asked(directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return list({name.rstrip(b"/") for name in out.split(b"\0") if name})
