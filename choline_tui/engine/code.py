"""What clients may ask of the code of runs: rebuild it, compare it, send what changed to a live run."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from choline_tui.codestate import (
    FileChange,
    capture,
    capture_branch,
    capture_commit,
    changed_files,
    cloneable,
    lay_out,
    manifest,
    rebuild,
    write_difference,
)
from choline_tui.config.paths import Paths
from choline_tui.config.project import KEPT_HERE, Project, load_project
from choline_tui.engine.context import Context
from choline_tui.engine.gate import Gate
from choline_tui.engine.removal import check_code_is_there
from choline_tui.engine.server import Method
from choline_tui.kernel.errors import CholineError, RemoteError, StoreError, UsageError
from choline_tui.kernel.session import Item, Progress
from choline_tui.model.clone_url import token_for
from choline_tui.model.code import CodeFile, CodeState
from choline_tui.model.here import HERE
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Attempt, Plan, Rental, Run

__all__ = ["CodeMethods", "freeze", "left_out"]

WITHOUT_PROJECT = ("/results/",)
"""left out where no choline.toml says what to leave out"""
_CHUNK = 1 << 18
_FULL = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NAMED = 5
"""files that an event names"""


def left_out(project: Project | None, plan: Plan) -> tuple[str, ...]:
    """Patterns of code that is not copied for a run."""
    patterns = project.excluded if project is not None else WITHOUT_PROJECT
    return (*patterns, *KEPT_HERE) if plan.secrets else patterns


def freeze(
    request: RunRequest, project: Project | None, plan: Plan, directory: Path, into: Path, objects: Path
) -> CodeState:
    """The code that a request means, frozen; with where its machine may clone it from, as the project or the
    request wants it. Blocks. Raises ProjectError; UsageError for a request that contradicts itself."""
    exclude = left_out(project, plan)
    stays = (*(project.exclude if project is not None else ()), *(KEPT_HERE if plan.secrets else ()))
    table = project.code if project is not None else None
    if request.branch:
        if request.commit and not _FULL.fullmatch(request.commit):
            raise UsageError("the code of a branch and that of a commit exclude each other")
        code = capture_branch(
            directory,
            request.branch,
            into,
            commit=request.commit,
            exclude=exclude,
            stays=stays,
            objects=objects,
        )
    elif request.commit:
        code = capture_commit(directory, request.commit, into, exclude=exclude, objects=objects)
    else:
        code = capture(directory, into, exclude=exclude, objects=objects)
    if plan.place == HERE:
        return code.model_copy(update={"clone": None})
    if table is not None and table.clone and not request.branch:
        code = cloneable(code, directory, stays)
    if code.clone is None:
        return code
    token = token_for(code.clone.url, plan.secrets, table.token if table is not None else "")
    return code.model_copy(update={"clone": code.clone.model_copy(update={"token": token})})


class CodeMethods:
    """``freezing``: shared with whatever freezes code, so that nothing is swept away meanwhile.
    ``reachable``: the rental of a run whose machine can be reached, or None."""

    def __init__(
        self, ctx: Context, paths: Paths, freezing: Gate, reachable: Callable[[Run], Rental | None]
    ) -> None:
        self.ctx, self.paths = ctx, paths
        self._freezing, self._reachable = freezing, reachable
        self._pushing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def methods(self) -> dict[str, Method]:
        return {"checkout": self.checkout, "code_diff": self.code_diff, "push": self.push}

    def _code(self, run: str) -> tuple[Run, CodeState]:
        found = self.ctx.store.find_run(run)
        check_code_is_there(found)
        if found.code is None:
            raise UsageError(f"run {found.id} was started without code")
        return found, found.code

    async def _now(self, run: Run, into: Path) -> CodeState:
        """The run's project as it is now."""
        directory = Path(run.plan.project)
        project = load_project(directory) if (directory / "choline.toml").is_file() else None
        exclude = left_out(project, run.plan)
        return await asyncio.to_thread(
            capture, directory, into, exclude=exclude, objects=self.paths.objects_dir
        )

    # -------------------------------------------------------------------------------- look at it

    async def checkout(self, run: str, into: str) -> dict[str, Any]:
        """Make the tree of a run in ``into``, an absolute directory that is empty or not there."""
        found, code = self._code(run)
        if not Path(into).is_absolute():
            raise UsageError(f"where to? {into[:200]!r} is no absolute directory")
        async with self._freezing.shared():
            files = await asyncio.to_thread(rebuild, code, Path(into))
        return {**_described(found, code), "into": into, "files": files, "bytes": code.total_bytes}

    async def code_diff(
        self, run: str, other: str = "", text: bool = True, binary: bool = True
    ) -> AsyncIterator[dict[str, Any]]:
        """From the code of ``run`` to that of ``other``, or to its project's working tree now: first what
        differs, then, with ``text``, the difference itself (base64)."""
        found, old = self._code(run)
        async with self._scratch() as scratch:
            patch = scratch / "patch"
            async with self._freezing.shared():
                if other:
                    second, new = self._code(other)
                    told = _described(second, new)
                else:
                    new = await self._now(found, scratch / "now")
                    told = {**_described(found, new), "run": None}
                with patch.open("wb") as out:
                    files = await asyncio.to_thread(
                        write_difference, old, new, scratch, out if text else None, binary=binary
                    )
            yield {"old": _described(found, old), "new": told, "files": [_file(each) for each in files]}
            with patch.open("rb") as written:
                while piece := written.read(_CHUNK):
                    yield {"text": base64.b64encode(piece).decode()}

    @asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        try:
            self.paths.cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix="diff-", dir=self.paths.cache_dir))
        except OSError as error:
            raise StoreError(f"cannot write in {self.paths.cache_dir}: {error.strerror}") from None
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    # -------------------------------------------------------------------------------------- push

    async def push(self, run: str) -> dict[str, Any]:
        """Send what changed in the project to the machine of a live run, into its src."""
        found, code = self._code(run)
        lock = self._pushing.setdefault(found.id, asyncio.Lock())
        async with lock, self._freezing.shared():
            rental, attempt = self._machine(found)
            record = _Record(self.paths.run_dir(found.id) / "pushed", attempt.n)
            known = await asyncio.to_thread(record.read, code)
            new = await self._now(found, record.fresh)
            changed, gone = await asyncio.to_thread(_changes, known, new)
            answer = {
                "run": found.id,
                "files": [_shown(file.path) for file in changed],
                "bytes": sum(file.size for file in changed),
                "deleted": [_shown(path) for path in gone],
                "warnings": list(new.warnings),
                "how": "",
                "skipped": [],
            }
            if changed:
                moved = await self._send(found, rental, record, known, new, changed)
                answer |= {"how": moved.how, "skipped": [text[:300] for text in moved.skipped[:20]]}
            return answer

    def _machine(self, run: Run) -> tuple[Rental, Attempt]:
        if not run.live:
            raise UsageError(
                f"run {run.id} has ended: there is nothing to push to",
                hint=f"'choline again {run.id} --new-code' runs the files as they are now.",
            )
        rental = self._reachable(run)
        for attempt in reversed(self.ctx.store.attempts(run.id)):
            if rental and attempt.live and attempt.rental == rental.id and attempt.sent is not None:
                return rental, attempt
        raise RemoteError(
            f"run {run.id} has no machine that has its code yet ({run.state}: {run.reason})",
            hint=f"'choline logs -f {run.id}' shows when it runs.",
        )

    async def _send(
        self,
        run: Run,
        rental: Rental,
        record: "_Record",
        known: "_Known",
        new: CodeState,
        changed: Sequence[CodeFile],
    ) -> Any:
        mtime = max(int(self.ctx.clock.time()), known.mtime + 1)
        tree = record.tree
        try:
            # written first: what a broken push has sent is sent again, whatever it is then
            await asyncio.to_thread(
                record.write, known.state, {*known.pending, *(f.path for f in changed)}, mtime
            )
            await asyncio.to_thread(lay_out, new, changed, tree, mtime)
            session = await self.ctx.sessions.get(rental)
            try:
                moved = await session.send(run.id, [Item(str(tree), "src")], self._reporter(run.id))
            except RemoteError:
                await self.ctx.sessions.drop(rental.id)
                raise
            await asyncio.to_thread(record.settle, new, mtime)
        except OSError as error:
            raise StoreError(f"cannot keep what is pushed: {error}", hint="Make room first.") from error
        finally:
            shutil.rmtree(tree, ignore_errors=True)
        names = ", ".join(_shown(file.path) for file in changed[:_NAMED])
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        size = sum(file.size for file in changed)
        self.ctx.ledger.note(
            "run", f"pushed {len(changed)} files, {size:,} bytes: {names}{more}"[:500], run=run.id
        )
        return moved

    def _reporter(self, run: str) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            self.ctx.hub.publish(
                "progress",
                run,
                what="sending",
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                files_done=progress.files_done,
                files_total=progress.files_total,
                seconds_left=progress.seconds_left,
            )

        return report


@dataclass(frozen=True)
class _Known:
    """What a machine was sent last. ``pending``: names that a push began and did not end."""

    state: CodeState
    pending: frozenset[bytes]
    mtime: int
    """epoch s that what was pushed last is dated: what is pushed next is dated later, so that the same size
    does not make it look the same"""


class _Record:
    """On disk, for one attempt: what its machine has. One at a time."""

    def __init__(self, directory: Path, attempt: int) -> None:
        self.directory = directory
        self.file = directory / f"{attempt}.json"
        self.fresh = directory / f"{attempt}-new"
        self.kept = directory / f"{attempt}-sent"
        self.tree = directory / f"{attempt}-tree"

    def read(self, code: CodeState) -> _Known:
        """``code``: what the run was started with, which is what a machine has before the first push."""
        try:
            told = json.loads(self.file.read_text())
            state = CodeState.model_validate(told["state"])
            manifest(state)
            pending = frozenset(base64.b64decode(name) for name in told["pending"])
            return _Known(state, pending, int(told["mtime"]))
        except FileNotFoundError:
            return _Known(code, frozenset(), 0)
        except (OSError, ValueError, KeyError, TypeError, CholineError):
            # everything once more rather than too little
            return _Known(code, frozenset(f.path for f in manifest(code).files), 0)

    def write(self, state: CodeState, pending: set[bytes], mtime: int) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".part")
        told = {
            "state": state.model_dump(mode="json"),
            "pending": [base64.b64encode(name).decode() for name in sorted(pending)],
            "mtime": mtime,
        }
        temporary.write_text(json.dumps(told))
        temporary.replace(self.file)

    def settle(self, new: CodeState, mtime: int) -> None:
        """The machine has it: what was frozen for the push is what the next one is compared with."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.kept)
        self.fresh.rename(self.kept)
        self.write(new.model_copy(update={"frozen_dir": str(self.kept)}), set(), mtime)


def _changes(known: _Known, new: CodeState) -> tuple[list[CodeFile], list[bytes]]:
    """What is to be sent; names that are gone here."""
    before, after = changed_files(known.state, new)
    send = {file.path: file for file in after}
    files = {file.path: file for file in manifest(new).files}
    send |= {path: files[path] for path in known.pending if path in files}
    gone = {*(file.path for file in before), *known.pending} - files.keys()
    return [send[path] for path in sorted(send)], sorted(gone)


def _described(run: Run, code: CodeState) -> dict[str, Any]:
    fields = {
        "commit", "message", "branch", "remote", "dirty_count", "changed_lines", "digest", "file_count",
        "total_bytes", "warnings",
    }  # fmt: skip
    return {"run": run.id, "project": run.plan.project, **code.model_dump(mode="json", include=fields)}


def _file(change: FileChange) -> dict[str, Any]:
    return {
        "path": _shown(change.path),
        "kind": change.kind,
        "added": change.added,
        "removed": change.removed,
        "before": _shown(change.before) if change.before else None,
    }


def _shown(path: bytes) -> str:
    """A name as text: what is not UTF-8 is escaped."""
    return path.decode("utf-8", "backslashreplace")
