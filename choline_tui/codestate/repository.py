"""What git knows about a project: where it stands, and which files are its own."""

import contextlib
import os
import re
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from choline_tui.codestate import index
from choline_tui.codestate.patterns import Patterns
from choline_tui.kernel.errors import ProjectError

__all__ = [
    "CONFIG",
    "STATUS",
    "UNSET",
    "Position",
    "Standing",
    "asked",
    "in_repository",
    "list_files",
    "one_line",
    "position",
    "position_of",
    "refusal",
    "remote_of",
    "run_git",
    "settings",
    "standing",
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


def run_git(directory: str, *words: str, index_file: str = "") -> tuple[int, bytes, str]:
    """Exit status, output and complaint of one git command, with another index if ``index_file`` names one.
    ``ProjectError`` when git cannot be run."""
    try:
        # late: the import looks for the program and fails without it
        from git import Git, GitCommandNotFound
    except ImportError:
        raise ProjectError(
            f"{directory} is in a git repository, but git is not installed",
            hint="Install git; choline asks it which files belong to the project.",
        ) from None
    unset = [word for name in UNSET for word in ("-u", name)]
    other = [f"GIT_INDEX_FILE={index_file}"] if index_file else []
    try:
        status, out, complaint = Git(directory).execute(
            ["env", *unset, *other, "git", "-c", "core.quotePath=false", *words],
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            env={"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        )
    except (GitCommandNotFound, OSError) as error:
        raise ProjectError(f"git cannot be run in {directory}: {error}") from None
    return status, out if isinstance(out, bytes) else b"", str(complaint)


def asked(directory: str, *words: str, index_file: str = "") -> bytes:
    status, out, complaint = run_git(directory, *words, index_file=index_file)
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
    with ThreadPoolExecutor(1) as pool:
        asked_settings = pool.submit(run_git, directory, *CONFIG)
        stand = standing(asked(directory, *STATUS, "--", "."))
        _, config, _ = asked_settings.result()
    return position_of(directory, prefix, stand, settings(config), patterns)


def position_of(
    directory: str, prefix: bytes, stand: "Standing", config: dict[bytes, bytes], patterns: Patterns
) -> Position:
    """As ``position``, of what git has already said; ``prefix``: the directory below the repository's top,
    with a slash, or nothing."""
    known: dict[bytes, bool] = {}
    changes = {
        path: before
        for path, before in stand.changes.items()
        if not patterns.leaves_out_within(path.removeprefix(prefix), known)
    }
    message = b""
    if stand.commit:
        status, out, _ = run_git(
            directory, "log", "-1", "--no-show-signature", "--format=%s", stand.commit, "--"
        )
        message = out if status == 0 else b""
    return Position(
        commit=stand.commit,
        message=one_line(message),
        branch=stand.branch,
        remote=_remote(config, stand.branch),
        dirty_count=len(changes),
        changed_lines=_changed_lines(directory, prefix, changes, born=bool(stand.commit)),
    )


STATUS = (
    "status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--untracked-files=all", "--no-renames"
)  # fmt: skip
CONFIG = ("config", "--list", "-z")


@dataclass(frozen=True)
class Standing:
    """What ``git status`` said."""

    commit: str
    branch: str
    changes: dict[bytes, "Before | None"]
    """what differs from the commit, by its path from the repository's top; None: git does not have it"""


Before = tuple[bytes, bytes]
"""of a file in the commit: mode (octal) and name of its content (hexadecimal); b'' where it is not in the
commit, or not in the index as one plain file"""


_FIELDS_BEFORE = {b"1": 8, b"u": 10, b"?": 1}


def standing(out: bytes) -> Standing:
    """The output of ``STATUS`` (git-status(1), porcelain format version 2)."""
    commit = branch = ""
    changes: dict[bytes, Before | None] = {}
    for entry in out.split(b"\0"):
        if entry.startswith(b"# "):
            _, key, *rest = entry.split(b" ", 2)
            value = one_line(b"".join(rest))
            if key == b"branch.oid":
                commit = "" if value == "(initial)" else value
            elif key == b"branch.head":
                branch = "" if value == "(detached)" else value
        elif entry:
            fields = entry.split(b" ", _FIELDS_BEFORE.get(entry[:1], 0))
            if len(fields) == 1:
                raise ProjectError(f"git status says {one_line(entry, 80)!r}, which is not understood")
            plain = fields[0] == b"1" and fields[2] == b"N..." and b"000000" not in fields[3:5]
            before = (fields[3], fields[6]) if plain else (b"", b"")
            changes[fields[-1]] = None if fields[0] == b"?" else before
    return Standing(commit, branch, changes)


def settings(out: bytes) -> dict[bytes, bytes]:
    """The output of ``CONFIG``: of a name that is set more than once the last value, which counts."""
    found = {}
    for entry in out.split(b"\0"):
        name, _, value = entry.partition(b"\n")
        found[name] = value
    return found


def remote_of(directory: str, branch: str) -> str:
    return _remote(settings(run_git(directory, *CONFIG)[1]), branch)


def _remote(config: dict[bytes, bytes], branch: str) -> str:
    name = one_line(config.get(b"branch.%s.remote" % branch.encode(), b"")) if branch else ""
    for remote in (name, "origin"):
        url = config.get(b"remote.%s.url" % remote.encode(), b"").strip()
        if remote not in ("", ".") and url:
            return without_credentials(one_line(url, 500))
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


_COUNTED = 8 << 20
"""bytes of a new file up to which its lines are counted"""


def _changed_lines(directory: str, prefix: bytes, changes: dict[bytes, Before | None], *, born: bool) -> int:
    """Lines added and removed against the commit. Binary files have none."""
    compared = {path: before for path, before in changes.items() if before is not None and born}
    total = 0
    if compared:
        for entry in _numbers(directory, compared).split(b"\0"):
            fields = entry.split(b"\t", 2)
            if len(fields) == 3 and fields[2] in compared:
                total += sum(int(number) for number in fields[:2] if number.isdigit())
    for path in changes.keys() - compared.keys():
        total += _lines_of(os.path.join(os.fsencode(directory), path.removeprefix(prefix)))
    return total


def _numbers(directory: str, compared: dict[bytes, Before]) -> bytes:
    """Of these files, and perhaps of others, how many lines differ from the commit, as ``--numstat -z``."""
    words = ("--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv")
    raw = index.written((path, *before) for path, before in compared.items())
    if raw is not None:
        # an index of these alone, as they are in the commit: git looks at no other file
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(prefix="choline-index-") as file:
            file.write(raw)
            file.flush()
            return asked(directory, "diff-files", *words, index_file=file.name)
    # all of them: to be told which ones takes git several times as long as to look (20 of 20,000: 5x)
    return asked(directory, "diff-index", *words, "HEAD", "--", ".")


def _lines_of(path: bytes) -> int:
    """Lines of a text, as git counts them; 0 for what is binary, big, or no file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > _COUNTED:
            return 0  # a directory: a repository inside this one
        with open(handle, "rb", closefd=False) as file:
            data = file.read(_COUNTED)
    except OSError:
        return 0
    finally:
        os.close(handle)
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
