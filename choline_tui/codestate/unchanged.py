"""When git says that a working tree is as it was, its files need not even be looked at.

A look at 20,000 files takes several times as long as ``git status``. What status says (against an index that
is the same) tells content apart, so a tree whose status, index, commit and settings are those of a known look
has the known manifest: the files that differ from the index are compared by their marks, as in ``memory``.

Nothing is believed of one look alone, for status and files are looked at side by side: the manifest of a
look in which no file had changed since the look before counts, if that one's status was the same. Whatever
lets a file differ in bytes and be clean for git (filters, line ends, flags of the index, submodules) leaves
this way closed.
"""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from choline_tui.codestate.frozen import MANIFEST
from choline_tui.codestate.memory import Known, mark_of
from choline_tui.codestate.repository import run_git
from choline_tui.kernel.errors import ProjectError
from choline_tui.model.code import CodeState

__all__ = ["Shortcut", "Sight"]

_VERSION = 1
_STATUS = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
_BAD_CONFIG = re.compile(
    rb"(?:^|\0)(?:core\.(?:autocrlf|eol|attributesfile|worktree|fsmonitor|untrackedcache|splitindex|"
    rb"checkstat|ignorestat|trustctime|sparsecheckout)\n|core\.(?:filemode|symlinks)\nfalse|"
    rb"filter\.(?!lfs\.)|index\.)"
)
"""settings by which status may call a file clean whose bytes, mode or kind are others"""
_PLAIN_ENTRY = re.compile(rb"H (?:100644|100755|120000) [0-9a-f]+ 0\t[^\0]*\0")


@dataclass(frozen=True)
class Sight:
    """What git says of a tree, as one comparable value, and the paths that differ from the index."""

    words: tuple[str, ...]
    differing: tuple[str, ...]
    """hexadecimal, relative to the repository, which is the project"""


def _stat(path: str) -> str:
    try:
        seen = os.stat(path)
    except OSError:
        return ""
    return f"{seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_size} {seen.st_ino}"


class Shortcut:
    """Of one project. ``file``: where it is remembered; ``rules``: patterns of what is left out."""

    def __init__(self, project: str, file: str, rules: Iterable[bytes | str], sign: str) -> None:
        self._top = project
        self._git = os.path.join(project, ".git")
        self._file = f"{file}.tree"
        self._rules = [os.fsdecode(rule) for rule in rules]
        self._sign = sign
        self._known = self._read()

    @property
    def possible(self) -> bool:
        """Whether a look may be saved: a manifest is remembered, and the index is the one of then."""
        known = self._known
        return bool(known.get("state")) and known.get("index") == self._index()

    def take(self, into: Path) -> CodeState | None:
        """The state of the tree, its manifest in ``into``, if all is as it was; else None."""
        known = self._known
        sight = self.look()
        if sight is None or list(sight.words) != known.get("words"):
            self.forget()
            return None
        marks = known["marks"]
        if set(marks) != set(sight.differing) or any(self._mark(p) != m for p, m in marks.items()):
            self.forget()
            return None
        try:
            state = CodeState.model_validate(known["state"])
            _place(Path(f"{self._file}.json"), into)
        except (OSError, ValueError):
            self.forget()
            return None
        if self._index() != known["index"]:
            return None
        return state.model_copy(update={"frozen_dir": os.path.abspath(into)})

    def look(self) -> Sight | None:
        """None where the way is closed."""
        before = self._index()
        if not before or not os.path.isdir(self._git) or self._attributes():
            return None
        try:
            with ThreadPoolExecutor(2) as pool:
                config = pool.submit(run_git, self._top, "config", "--list", "-z")
                head = pool.submit(run_git, self._top, "rev-parse", "HEAD")
                status, out, _ = run_git(self._top, *_STATUS)
                settings, commit = config.result(), head.result()
            with open(os.path.join(self._git, "HEAD"), "rb") as file:
                branch = file.read(1000)
        except (ProjectError, OSError):
            return None
        if status or settings[0] or _BAD_CONFIG.search(settings[1]) or self._index() != before:
            return None
        paths = [entry[3:] for entry in out.split(b"\0") if len(entry) > 3]
        if any(path.endswith(b"/") for path in paths):
            return None  # a repository inside this one
        words = (before, out.hex(), commit[1].hex(), branch.hex(), settings[1].hex())
        return Sight(words, tuple(path.hex() for path in paths))

    def _attributes(self) -> bool:
        places = [os.path.join(self._top, ".gitattributes"), os.path.join(self._git, "info", "attributes")]
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        places += [os.path.join(base, "git", "attributes"), "/etc/gitattributes"]
        return any(os.path.lexists(place) for place in places)

    def _mark(self, path: str) -> list[int] | None:
        try:
            return list(mark_of(os.lstat(os.path.join(os.fsencode(self._top), bytes.fromhex(path)))))
        except OSError:
            return None

    def _index(self) -> str:
        return _stat(os.path.join(self._git, "index"))

    # -------------------------------------------------------------------------------- remembering

    def learn(self, state: CodeState, keep: dict[bytes, Known], *, same: bool) -> None:
        """After a look at every file. ``same``: each was the one that was known before, left alone since.
        What cannot be written is not remembered."""
        if not same or not self._sign:
            self.forget()
            return
        sight = self.look()
        if sight is None or not self._plain():
            self.forget()
            return
        # what differs and is kept has a mark; what differs and is not there (deleted, left out) has none
        marks = {path: self._mark(path) for path in sight.differing}
        kept = {path: list(keep[raw][0]) for path in marks if (raw := bytes.fromhex(path)) in keep}
        told: dict[str, Any] = {
            "version": _VERSION, "sign": self._sign, "rules": self._rules, "index": sight.words[0],
            "words": list(sight.words), "marks": marks, "digest": state.digest,
        }  # fmt: skip
        known = self._known
        before = all(known.get(name) == told[name] for name in ("words", "marks", "digest"))
        if before and all(marks[path] == mark for path, mark in kept.items()):
            told["state"] = state.model_dump(mode="json")
            with contextlib.suppress(OSError):
                _place(Path(state.frozen_dir) / MANIFEST, Path(f"{self._file}.json"), name="")
                self._write(told)
        else:
            self._write(told)

    def _plain(self) -> bool:
        """Whether every entry of the index is a plain file or link, without flags, and none is about
        attributes."""
        status, out, _ = run_git(self._top, "ls-files", "-s", "-v", "-z")
        if status or b".gitattributes\0" in out:
            return False
        return sum(len(m[0]) for m in _PLAIN_ENTRY.finditer(out)) == len(out)

    def forget(self) -> None:
        self._known = {}
        with contextlib.suppress(OSError):
            os.unlink(self._file)

    def _read(self) -> dict[str, Any]:
        try:
            with open(self._file, encoding="ascii") as file:
                known = json.load(file)
        except (OSError, ValueError):
            return {}
        fits = isinstance(known, dict) and (known.get("version"), known.get("sign"), known.get("rules")) == (
            _VERSION, self._sign, self._rules
        )  # fmt: skip
        return known if fits and self._sign else {}

    def _write(self, told: dict[str, Any]) -> None:
        self._known = told
        temporary = f"{self._file}.{secrets.token_hex(8)}"
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._file), mode=0o700, exist_ok=True)
            try:
                with open(temporary, "w", encoding="ascii") as file:
                    json.dump(told, file)
                os.replace(temporary, self._file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)


def _place(source: Path, into: Path, name: str = MANIFEST) -> None:
    """A link to a manifest, or a copy where that cannot be: manifests are replaced, never written in."""
    target = into / name if name else into
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            temporary.write_bytes(source.read_bytes())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
