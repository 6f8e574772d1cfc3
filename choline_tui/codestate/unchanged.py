"""Files that git says are as they were need not be looked at.

A look at 20,000 files takes several times as long as ``git status``, which tells which of them are what its
index names. So of every file that was read it is kept which entry of the index names that very content
(``index.proves``): what git finds clean by the same entry has the same line in the manifest. Only the rest
is looked at: what differs from the index or is not in it, and what has got another entry since.

A tree of which not even that has changed (the same index, the same words of git, the same marks of the rest)
has the manifest that it had.
"""

import contextlib
import hashlib
import os
import secrets
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from choline_tui.codestate import index, sight
from choline_tui.codestate.frozen import MANIFEST
from choline_tui.codestate.index import Block
from choline_tui.codestate.memory import Known, Row, load, mark_of, save, settled
from choline_tui.codestate.patterns import Patterns
from choline_tui.codestate.repository import CONFIG, asked
from choline_tui.codestate.sight import Sight
from choline_tui.kernel.errors import ProjectError
from choline_tui.model.code import CodeState

__all__ = ["STALE", "Shortcut", "Split"]

STALE = 0.1
"""part of what is known that may be of files that have changed or gone, before it is written anew"""
_VERSION = 4
_ATTRIBUTES = b".gitattributes"
_FEW = 100
"""files that may always be looked at, however small the project is"""
_DAMAGED = (KeyError, TypeError, ValueError, AttributeError)
"""what it leads to when something was remembered that we would not have written"""


@dataclass(frozen=True)
class Split:
    """A tree by git's word: what is known of it, and what is to be looked at (none of which lies, in the
    order of paths, within one of ``rows``)."""

    rows: list[Row]
    """each of one file or of a block of them; none is as big as those that a person is told of"""
    count: int
    """files in them"""
    names: list[bytes]
    known: dict[bytes, Known]


class Shortcut:
    """Of one project. ``file``: where it is remembered; ``rules``: patterns of what is left out; ``sign``:
    what the contents in the store must still stand under. What cannot be read or written is not known: it
    only costs time."""

    def __init__(self, project: str, file: str, rules: Iterable[bytes | str], sign: str) -> None:
        self._top = project
        self._base_file, self._last_file = f"{file}.base", f"{file}.last"
        self._manifest = Path(f"{file}.json")
        self._rules = [os.fsencode(rule) for rule in rules]
        self.sign = sign
        self._last = self._read(self._last_file)
        self._base: dict[str, Any] = {}
        self._blocks: list[Block] = []
        self._found: tuple[list[Block], list[bytes]] | None = None
        self._whole = False
        self._tracked = False
        """whether attributes are among the files of the index"""
        self._folders: list[bytes] = []

    @property
    def _head(self) -> tuple[int, str, list[bytes]]:
        return (_VERSION, self.sign, self._rules)

    # ------------------------------------------------------------------------------------- looking

    def look(self) -> Sight | None:
        """What git says now; None when nothing is known, or where the way is closed."""
        if not self.sign or not os.path.exists(self._base_file):
            return None
        try:
            return sight.look(self._top, self._prepare)
        except _DAMAGED:
            return None

    def _prepare(self) -> bool:
        """What needs no answer of git's; whether bytes may be converted."""
        self._whole = self._last.get("index") == index.mark(sight.index_file(self._top)) and (
            _stamp(self._manifest) == self._last["manifest"]
        )
        if not self._whole:
            self._load()
        known = self._last if self._whole else self._base
        self._folders = known.get("folders", [])
        return known.get("converted", True) or self._tracked or sight.attributes_in(self._top, self._folders)

    def _load(self) -> None:
        if not self._base:
            self._base = self._read(self._base_file)
            self._blocks = [Block(*block) for block in self._base.get("blocks", ())]
            raw = sight.read_index(self._top)
            self._tracked = _ATTRIBUTES in raw
            self._found = index.compare(raw, self._blocks)

    def same(self, seen: Sight, into: Path) -> CodeState | None:
        """The state of the tree, its manifest in ``into``, if all is as it was at the last look."""
        last = self._last
        try:
            if not self._whole or last["words"] != seen.words:
                return None
            if any(self._mark(path) != mark for path, mark in last["marks"].items()):
                return None
            state = CodeState.model_validate_json(last["state"])
            _place(self._manifest, into / MANIFEST)
            if _stamp(self._manifest) != last["manifest"]:
                return None  # another look has replaced it meanwhile
        except (OSError, *_DAMAGED):
            return None
        return state.model_copy(update={"frozen_dir": os.path.abspath(into)})

    def split(self, seen: Sight, patterns: Patterns) -> Split | None:
        """None when so little is known that a look at every file is better."""
        try:
            self._load()
            # another index than the one that git has just compared with
            if self._found is None or index.mark(sight.index_file(self._top)) != seen.words[0]:
                return None
            if self._base["folders"] != self._folders or (self._base["converted"] and seen.written is None):
                return None  # what is known has been learned anew since it was asked for
            changes = seen.stand.changes
            differing = changes.keys() | (seen.written or ())
            same, apart = _apart(self._found[0], differing)
            kept = {block.first for block in same}
            proven = {
                entry: (line, size)
                for block in self._blocks
                if block.first not in kept
                for entry, line, size in index.rows_of(block)
            }
            rows = [(block.first, block.lines, block.size) for block in same if block.lines]
            count = sum(block.count for block in same if block.lines)
            names, missing = [], 0
            for entry in self._found[1] + apart:
                path = index.path_of(entry)
                line, size = proven.get(entry, (None, 0))
                missing += line is None
                if line is None or path in differing:
                    names.append(path)
                elif line:
                    rows.append((path, line, size))
                    count += 1
            if missing > STALE * (len(proven) + sum(block.count for block in same)) + _FEW:
                return None
            known = self._base["rest"] | self._last.get("seen", {})
        except _DAMAGED:
            return None
        names += (path for path, before in changes.items() if before is None)
        out: dict[bytes, bool] = {}
        wanted = [name for name in dict.fromkeys(names) if not patterns.leaves_out_within(name, out)]
        return Split(rows, count, wanted, known)

    def _mark(self, path: bytes) -> Any:
        try:
            return mark_of(os.lstat(os.path.join(os.fsencode(self._top), path)))
        except OSError:
            return None

    # -------------------------------------------------------------------------------- remembering

    def remember(
        self, seen: Sight, split: Split, state: CodeState, keep: dict[bytes, Known], began_ns: int
    ) -> None:
        """After a look at ``split.names`` and nothing else, begun at ``began_ns``; ``keep``: what is known of
        these now."""
        last: dict[str, Any] = {"seen": keep}
        marks = self._marks(split, keep, began_ns)
        stamp = self._keep(state) if marks is not None else ()
        if stamp:
            last |= {
                "index": seen.words[0], "words": seen.words, "marks": marks, "manifest": stamp,
                "folders": self._folders, "converted": seen.written is not None,
                "state": state.model_dump_json(),
            }  # fmt: skip
        if last != self._last:
            save(self._last_file, (self._head, last))

    def _keep(self, state: CodeState) -> tuple[int, ...]:
        """Remember the manifest of ``state``; its stamp, () when another look came between."""
        try:
            _place(Path(state.frozen_dir) / MANIFEST, self._manifest)
            stamp = _stamp(self._manifest)
            same = hashlib.sha256(self._manifest.read_bytes()).hexdigest() == state.digest
        except OSError:
            return ()
        return stamp if same and stamp == _stamp(self._manifest) else ()

    def _marks(self, split: Split, keep: dict[bytes, Known], began_ns: int) -> dict[bytes, Any] | None:
        """By which a change of what was looked at is seen; None when one may escape."""
        marks: dict[bytes, Any] = {path: keep[path][0] for path in split.names if path in keep}
        for path in split.names:
            if path not in marks:
                mark = marks[path] = self._mark(path)
                if mark is not None and not settled(mark, began_ns):
                    return None
        return marks

    def learn(self, keep: dict[bytes, Known], patterns: Patterns) -> None:
        """After a look at every file; ``keep``: what is known of them now."""
        self.forget()
        raw = sight.read_index(self._top)
        entries = index.plain_entries(raw)
        if not entries or not self.sign:
            return
        try:
            config = asked(self._top, *CONFIG)
        except ProjectError:
            return
        if not sight.plain_settings(config):
            return
        folders = _folders(entries)
        converted = _ATTRIBUTES in raw or sight.converting(config) or sight.attributes_in(self._top, folders)
        rest, out = dict(keep), dict[bytes, bool]()
        rows: list[tuple[bytes, bytes | None]] = []
        missing = 0
        for entry in entries:
            path, line = index.path_of(entry), None
            if patterns.leaves_out_within(path, out):
                line = b""
            elif path in rest and index.proves(entry, rest[path], converted=converted):
                line = rest.pop(path)[1]
            rows.append((entry, line))
            missing += line is None
        if missing <= STALE * len(entries) + _FEW:
            blocks = [astuple(block) for block in index.blocks_of(rows)]
            base = {"folders": folders, "converted": converted, "blocks": blocks, "rest": rest}
            save(self._base_file, (self._head, base))

    def forget(self) -> None:
        for file in (self._base_file, self._last_file):
            with contextlib.suppress(OSError):
                os.unlink(file)

    def _read(self, file: str) -> dict[str, Any]:
        match load(file) if self.sign else None:
            case (head, dict(known)) if head == self._head:
                return known
        return {}


def _apart(blocks: list[Block], changes: Iterable[bytes]) -> tuple[list[Block], list[bytes]]:
    """Those blocks within which nothing of ``changes`` lies, and the entries of the others."""
    firsts = [block.first for block in blocks]
    touched = set()
    for path in changes:
        place = bisect_right(firsts, path) - 1
        if place >= 0 and path <= blocks[place].last:
            touched.add(place)
    entries = [entry for place in touched for entry, _, _ in index.rows_of(blocks[place])]
    return [block for place, block in enumerate(blocks) if place not in touched], entries


def _folders(entries: list[bytes]) -> list[bytes]:
    found = {b""}
    for entry in entries:
        folder = index.path_of(entry).rpartition(b"/")[0]
        while folder and folder + b"/" not in found:
            found.add(folder + b"/")
            folder = folder.rpartition(b"/")[0]
    return list(found)


def _stamp(file: Path) -> tuple[int, ...]:
    """Another one when the file was written; not when a link to it was made."""
    try:
        seen = os.stat(file)
    except OSError:
        return ()
    return seen.st_size, seen.st_mtime_ns, seen.st_ino


def _place(source: Path, target: Path) -> None:
    """A link to a manifest, or a copy where that cannot be: manifests are replaced, never written in."""
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
