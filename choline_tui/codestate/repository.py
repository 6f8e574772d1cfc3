"""What git knows about a project: where it stands, and which files are its own."""

import os
import re
import stat
from dataclasses import dataclass

from choline_tui.codestate.patterns import Patterns
from choline_tui.kernel.errors import ProjectError

__all__ = [
    "UNSET",
    "Position",
    "asked",
    "in_repository",
    "list_files",
    "one_line",
    "position",
    "refusal",
    "remote_of",
    "run_git",
    "without_credentials",
]

UNSET = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_COMMON_DIR")
"""set inside a git hook; they would turn our questions to another repository"""


@dataclass(frozen=True)
class Position:
    commit: str = ""
    message: str = ""
    branch: str = ""
    remote: str = ""
    dirty_count: int = 0
    changed_lines: int = 0


def run_git(directory: str, *words: str) -> tuple[int, bytes, str]:
    """Exit status, output and complaint of one git command. ``ProjectError`` when git cannot be run."""
    try:
        # late: the import looks for the program and fails without it
        from git import Git, GitCommandNotFound
    except ImportError:
        raise ProjectError(
            f"{directory} is in a git repository, but git is not installed",
            hint="Install git; choline asks it which files belong to the project.",
        ) from None
    unset = [word for name in UNSET for word in ("-u", name)]
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


def asked(directory: str, *words: str) -> bytes:
    status, out, complaint = run_git(directory, *words)
    if status:
        raise refusal(directory, complaint)
    return out


def refusal(directory: str, complaint: str) -> ProjectError:
    if "dubious ownership" in complaint:
        return ProjectError(
            f"git does not trust {directory}: it belongs to another user",
            hint=f"If you do: git config --global --add safe.directory '{directory}'",
        )
    line = next((text for text in complaint.splitlines() if text.strip()), "it gave no reason")
    return ProjectError(f"git refuses in {directory}: {one_line(line.encode('utf-8', 'replace'))}")


def one_line(raw: bytes, limit: int = 200) -> str:
    """Foreign bytes as one line of text: no control characters, bounded."""
    text = raw.decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else " " for c in text[:limit])


def in_repository(directory: str) -> bool:
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
    if not in_repository(directory):
        return None
    status, out, complaint = run_git(directory, "rev-parse", "--is-inside-work-tree", "--show-prefix")
    if status:
        if "not a git repository" in complaint:
            return None
        raise refusal(directory, complaint)
    inside, _, prefix = out.partition(b"\n")
    if inside.strip() != b"true":
        return None
    prefix = prefix.rstrip(b"\n")
    status, out, _ = run_git(directory, "log", "-1", "--no-show-signature", "--format=%H%x00%s")
    commit, _, message = out.partition(b"\0") if status == 0 else (b"", b"", b"")
    status, out, _ = run_git(directory, "symbolic-ref", "--short", "-q", "HEAD")
    branch = one_line(out) if status == 0 else ""
    changes = _changes(directory, prefix, patterns)
    return Position(
        commit=one_line(commit),
        message=one_line(message),
        branch=branch,
        remote=remote_of(directory, branch),
        dirty_count=len(changes),
        changed_lines=_changed_lines(directory, prefix, changes, born=bool(commit)),
    )


def remote_of(directory: str, branch: str) -> str:
    names = []
    if branch:
        status, out, _ = run_git(directory, "config", "--get", f"branch.{branch}.remote")
        if status == 0 and one_line(out) not in ("", "."):
            names.append(one_line(out))
    for name in [*names, "origin"]:
        status, out, _ = run_git(directory, "config", "--get", f"remote.{name}.url")
        if status == 0 and out.strip():
            return without_credentials(one_line(out, 500))
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


def _changes(directory: str, prefix: bytes, patterns: Patterns) -> dict[bytes, bool]:
    """What differs from the commit, by its path from the repository's top: whether git has it at all."""
    out = asked(
        directory, "status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", "."
    )
    known: dict[bytes, bool] = {}
    found = {}
    for entry in out.split(b"\0"):
        path = entry[3:]
        if path and not patterns.leaves_out_within(path.removeprefix(prefix), known):
            found[path] = entry[:2] != b"??"
    return found


_COUNTED = 8 << 20
"""bytes of a new file up to which its lines are counted"""


def _changed_lines(directory: str, prefix: bytes, changes: dict[bytes, bool], *, born: bool) -> int:
    """Lines added and removed against the commit. Binary files have none."""
    compared = {path for path, has in changes.items() if has and born}
    total = 0
    if compared:
        # all of them: to be told which ones takes git several times as long as to look (20 of 20,000: 5x)
        out = asked(
            directory, "diff-index", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv",
            "HEAD", "--", ".",
        )  # fmt: skip
        for entry in out.split(b"\0"):
            fields = entry.split(b"\t", 2)
            if len(fields) == 3 and fields[2] in compared:
                total += sum(int(number) for number in fields[:2] if number.isdigit())
    for path in changes.keys() - compared:
        total += _lines_of(os.path.join(os.fsencode(directory), path.removeprefix(prefix)))
    return total


def _lines_of(path: bytes) -> int:
    """Lines of a text, as git counts them; 0 for what is binary, big, or no file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    with open(handle, "rb") as file:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > _COUNTED:
            return 0
        try:
            data = file.read(_COUNTED)
        except OSError:
            return 0
    if b"\0" in data[:8000]:
        return 0
    return data.count(b"\n") + (not data.endswith(b"\n") if data else 0)


def list_files(directory: str) -> list[bytes]:
    """Tracked files, and untracked ones that are not ignored, below ``directory``; relative, unsorted. A
    name may be gone from the disk, or be a directory (a submodule, or a repository inside this one)."""
    out = asked(directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = dict.fromkeys(out.split(b"\0"))  # a file in conflict is named three times
    names.pop(b"", None)
    if b"/\0" in out:
        names = dict.fromkeys(name.rstrip(b"/") for name in names)
    return list(names)
