"""The code of a branch as it is on its remote, and where a machine may clone a commit from.

What the server has is brought into the repository's object store, and nowhere else: no branch, no tag, no
working tree and no remote-tracking branch changes.
"""

import difflib
import os
import re
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from choline_tui.codestate.commit import capture_commit
from choline_tui.codestate.listing import IGNORE_FILE
from choline_tui.codestate.patterns import Patterns
from choline_tui.codestate.repository import UNSET, one_line, position, run_git, without_credentials
from choline_tui.kernel.errors import ProjectError
from choline_tui.model.clone_url import clone_url
from choline_tui.model.code import CloneFrom, CodeState

__all__ = ["capture_branch", "cloneable"]

ASK_S = 60.0
FETCH_S = 900.0
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_HEADS = "refs/heads/"


@dataclass(frozen=True)
class _Remote:
    name: str
    """as git is told"""
    url: str
    """without credentials"""
    bare: bool
    """whether it had none"""
    follows: str = ""
    """the branch of the remote that the local one has as its upstream, if it is called something else"""


def capture_branch(
    project: Path,
    branch: str,
    into: Path,
    *,
    commit: str = "",
    exclude: Iterable[str] = (),
    stays: Iterable[str] = (),
    objects: Path | None = None,
) -> CodeState:
    """As ``capture_commit``, of what the remote of ``branch`` (its upstream's, else ``origin``) has as that
    branch now; with ``commit`` (a full hash) of what was seen there before. ``stays``: as for ``cloneable``.

    Blocks, and asks the remote. ``ProjectError`` when it cannot be reached or has no such branch, and as
    ``capture_commit``.
    """
    top = os.path.abspath(project)
    shown = one_line(branch.encode("utf-8", "replace"), 80)
    if not os.path.isdir(top) or position(top, Patterns(("*",))) is None:
        raise ProjectError(f"{top} is in no git repository, so there are no branches", hint="Leave it out.")
    if branch.startswith("-") or run_git(top, "check-ref-format", _HEADS + branch)[0]:
        raise ProjectError(f"{shown!r} is no name of a branch", hint="For example: --branch main")
    remote = _remote(top, branch)
    called = branch
    if not commit or not _HASH.fullmatch(commit):
        called, commit = _tip(top, remote, branch)
    if not _has(top, commit):
        _fetch(top, remote, called, commit)
    state = capture_commit(project, commit, into, exclude=exclude, objects=objects)
    clone, why = _clone_from(top, commit, remote.url, stays)
    warnings = [*state.warnings, *_behind(top, branch, commit)]
    if called != branch:
        warnings.append(f"on the remote, its upstream is called {called}: that is what is run")
    if not remote.bare:
        warnings.append("the remote's address holds a name or password: they are kept nowhere, and not sent")
    if why:
        warnings.append(f"the code is sent from here, not cloned by the machine: {why}")
    found = {"branch": called, "remote": remote.url, "warnings": tuple(warnings)}
    return state.model_copy(update={**found, "clone": clone})


def cloneable(state: CodeState, project: Path, stays: Iterable[str] = ()) -> CodeState:
    """``state`` with where a machine may clone its commit from, if the remote had it when git last looked;
    else with the reason. ``stays``: patterns of what goes to no machine; a clone has all of a commit, so one
    that holds such a file is none. Blocks. ``ProjectError`` when git cannot be run."""
    top = os.path.abspath(project)
    why = "" if state.commit else "there is no commit"
    if state.commit and not state.remote:
        why = "the repository has no remote"
    clone = None
    if not why:
        clone, why = _clone_from(top, state.commit, state.remote, stays)
    if not why:
        words = ("for-each-ref", "--count=1", "--contains", state.commit, "refs/remotes/")
        status, out, _ = run_git(top, *words)
        if status or not out.strip():
            why = f"commit {state.commit[:8]} was not pushed yet"
    if why:
        told = f"the code is sent from here, not cloned by the machine: {why}"
        return state.model_copy(update={"warnings": (*state.warnings, told)})
    return state.model_copy(update={"clone": clone})


def _clone_from(top: str, commit: str, remote: str, stays: Iterable[str]) -> tuple[CloneFrom | None, str]:
    """Where from, or why not."""
    url, why = clone_url(remote)
    if not why:
        _, own, _ = run_git(top, "show", f"{commit}:./{IGNORE_FILE}")
        patterns, known = Patterns([*own.splitlines(), *stays]), dict[bytes, bool]()
        status, out, _ = run_git(top, "ls-tree", "-r", "-z", "--name-only", commit)
        names = out.split(b"\0")[:-1]
        left = next((name for name in names if patterns.leaves_out_within(name, known)), None)
        if status:
            why = f"git cannot list commit {commit[:8]}"
        elif left is not None:
            why = f"commit {commit[:8]} holds {one_line(left, 80)}, which goes to no machine"
    if why:
        return None, why
    status, out, _ = run_git(top, "rev-parse", "--show-prefix")
    return CloneFrom(url=url, prefix=os.fsdecode(out.rstrip(b"\n")) if status == 0 else ""), ""


def _setting(top: str, key: str) -> str:
    status, out, _ = run_git(top, "config", "--get", key)
    return one_line(out, 1000) if status == 0 else ""


def _remote(top: str, branch: str) -> _Remote:
    upstream = _setting(top, f"branch.{branch}.remote")
    name = upstream if upstream not in ("", ".") else "origin"
    if name.startswith("-"):
        raise ProjectError(f"{name[:80]!r} is no name of a remote", hint="See 'git remote -v'.")
    known = _setting(top, f"remote.{name}.url")
    if not known and (name == upstream and ("/" in name or ":" in name)):
        known = name  # an address instead of a name
    if not known:
        raise ProjectError(
            f"the repository has no remote {name!r}",
            hint="'git remote add origin URL'; or leave --branch out.",
        )
    # git's own word for it: url.*.insteadOf may make it another one
    status, out, _ = run_git(top, "ls-remote", "--get-url", name)
    raw = one_line(out, 1000) if status == 0 else known
    url = without_credentials(raw)
    follows = _setting(top, f"branch.{branch}.merge") if name == upstream else ""
    follows = follows.removeprefix(_HEADS) if follows.startswith(_HEADS) else ""
    return _Remote(name, url, url == raw, follows if follows != branch else "")


def _tip(top: str, remote: _Remote, branch: str) -> tuple[str, str]:
    """What the branch is called there, and its commit."""
    names = [branch, *([remote.follows] if remote.follows else [])]
    status, out, complaint = _network(
        top, ["ls-remote", "--quiet", remote.name, *(_HEADS + name for name in names)], ASK_S
    )
    if status:
        raise _unreachable(remote, complaint)
    found = _refs(out)
    for name in names:
        if name in found:
            return name, found[name]
    _, out, _ = _network(top, ["ls-remote", "--quiet", "--heads", remote.name], ASK_S)
    close = difflib.get_close_matches(branch, list(_refs(out))[:10_000], 3, 0.6)
    bare = branch.removeprefix(f"{remote.name}/")
    if bare != branch and bare in _refs(out):
        close = [bare]
    hint = f"Did you mean {', '.join(one_line(c.encode(), 80) for c in close)}?" if close else ""
    if run_git(top, "rev-parse", "--verify", "--quiet", _HEADS + branch)[0] == 0:
        hint = f"It is here only: 'git push -u {remote.name} {branch}' puts it there. {hint}".strip()
    raise ProjectError(
        f"the remote {remote.url[:200]} has no branch {branch[:80]!r}",
        hint=hint or f"'git ls-remote --heads {remote.name}' lists them.",
    )


def _refs(out: bytes) -> dict[str, str]:
    found = {}
    for line in out.decode("utf-8", "replace").splitlines():
        commit, _, ref = line.partition("\t")
        if _HASH.fullmatch(commit) and ref.startswith(_HEADS) and ref.isprintable():
            found[ref.removeprefix(_HEADS)] = commit
    return found


def _has(top: str, commit: str) -> bool:
    return run_git(top, "cat-file", "-e", commit + "^{commit}")[0] == 0


def _fetch(top: str, remote: _Remote, branch: str, commit: str) -> None:
    """Bring the commit; by the branch's name where the server gives no bare commit."""
    words = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        "--no-prune",
    ]
    words += ["--no-auto-maintenance", "--refmap=", remote.name]
    complaint = ""
    for what in (commit, _HEADS + branch):
        _, _, complaint = _network(top, [*words, what], FETCH_S)
        if _has(top, commit):
            return
    if complaint:
        raise _unreachable(remote, complaint)
    raise ProjectError(
        f"the remote does not have commit {commit[:12]} of branch {branch[:80]!r} any more",
        hint="Try again: the branch has moved meanwhile.",
    )


def _behind(top: str, branch: str, commit: str) -> list[str]:
    """What of the local branch of that name is not in ``commit``."""
    status, out, _ = run_git(top, "rev-list", "--count", f"{commit}..{_HEADS}{branch}", "--")
    count = one_line(out, 20)
    if status or not count.isdigit() or count == "0":
        return []
    many = (
        f"{count} commits of yours on {branch} are" if count != "1" else f"1 commit of yours on {branch} is"
    )
    return [f"{many} not on the remote, and not in this run: 'git push' puts them there"]


def _unreachable(remote: _Remote, complaint: str) -> ProjectError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:"))] or lines
    words = re.sub(r"://[^/@\s]*@", "://", told[0]) if told else "it gave no reason"
    where = f"the remote {remote.url[:200]} cannot be asked from here: "
    return ProjectError(
        where + one_line(words.removeprefix("fatal: ").encode("utf-8", "replace"), 300),
        hint=f"'git fetch {remote.name}' must work without asking for anything; --commit needs no remote.",
    )


def _network(top: str, words: list[str], within: float) -> tuple[int, bytes, str]:
    """A command that talks to a server, with the user's own credentials, and without asking them anything."""
    gone = (*UNSET, "GIT_ASKPASS", "SSH_ASKPASS")
    env = {name: value for name, value in os.environ.items() if name not in gone}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        process = subprocess.Popen(
            ["git", "-C", top, "-c", "core.askPass=true", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,  # without a terminal: ssh would ask on it
        )
    except OSError as error:
        raise ProjectError(f"git cannot be run in {top}: {error}") from None
    with process:
        try:
            out, complaint = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return 124, b"", f"there was no answer within {within:.0f} s"
    return process.returncode, out, complaint.decode("utf-8", "replace")
