"""Taking ended runs out of the lists, and their files off this disk. The rows of the store stay: the event
log and the money are never rewritten."""

import asyncio
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from choline_tui.codestate import sweep as sweep_code
from choline_tui.codestate.frozen import MANIFEST
from choline_tui.config.paths import Paths
from choline_tui.engine.context import Context
from choline_tui.kernel.errors import CholineError, StoreError, UsageError
from choline_tui.model.removable import why_not_removed
from choline_tui.model.run import Run

__all__ = ["check_code_is_there", "remove", "sweep_objects"]

log = logging.getLogger("choline.engine")
YOUNG = 3600.0
"""s in which content of frozen code stays although no run names it"""


async def remove(
    ctx: Context,
    paths: Paths,
    names: Sequence[str],
    *,
    drop_results: bool,
    files: bool,
    results: bool,
) -> list[dict[str, Any]]:
    """All of them or none: each is looked at before the first goes. Files first, so that what could not be
    deleted is still in the lists. Raises NotFound, UsageError with why not, StoreError for the disk."""
    runs = list({run.id: run for run in map(ctx.store.find_run, names)}.values())
    for run in runs:
        why = why_not_removed(
            run, ctx.store.attempts(run.id), ctx.store.rentals(run=run.id), drop_results=drop_results
        )
        if why is not None:
            raise UsageError(why.message, hint=why.hint)
        if results:
            _results_of(run)
    told = []
    for run in runs:
        freed = 0
        try:
            if results:
                freed += await asyncio.to_thread(_delete, [_results_of(run)])
            if files:
                doomed = _files_of(ctx, paths, run, {r.id for r in runs})
                freed += await asyncio.to_thread(_delete, doomed)
        except OSError as error:
            raise StoreError(
                f"the files of run {run.id} cannot be deleted: {error}",
                hint="Correct the permissions there, then try it again; the run is still listed.",
            ) from error
        gone = [what for what, is_gone in (("files", files), ("results", results)) if is_gone]
        text = "taken out of the lists" + (f"; its {' and '.join(gone)} were deleted" if gone else "")
        ctx.ledger.run(run.id, text, archived=run.archived or ctx.clock.time())
        told.append({"run": run.id, "bytes": freed})
    return told


def check_code_is_there(run: Run) -> None:
    """Raises UsageError when the frozen code of a run went with it."""
    if run.archived is None or run.code is None or not run.code.file_count:
        return
    if not (Path(run.code.frozen_dir) / MANIFEST).exists():
        raise UsageError(
            f"the code of run {run.id} was deleted with it",
            hint=f"'choline again {run.id} --new-code' sends the files as they are now.",
        )


def _results_of(run: Run) -> Path:
    """Where its results came home. Raises UsageError for a place that is not this run's alone."""
    path = Path(run.plan.results_into)
    if path.name != run.id or not path.is_absolute() or path.is_symlink():
        raise UsageError(
            f"the results of run {run.id} are not in a directory of their own: {path}",
            hint="Delete them yourself.",
        )
    return path


def _files_of(ctx: Context, paths: Paths, run: Run, going: set[str]) -> list[Path]:
    """Logs, evidence, and frozen code that no run in the lists needs: a repeated run's lies with the first
    one's, and goes with the last that was repeated from it."""
    own = paths.run_dir(run.id)
    needed = {
        Path(other.code.frozen_dir)
        for other in ctx.store.runs()
        if other.code is not None and other.archived is None and other.id not in going
    }
    if not any(own in place.parents for place in needed):
        found = [own]
    else:
        found = [path for path in own.iterdir() if path not in needed] if own.is_dir() else []
    if run.code is not None:
        code = Path(run.code.frozen_dir)
        first = next((r for r in ctx.store.runs() if paths.code_dir(r.id) == code), None)
        if first is not None and first.archived is not None and first.id != run.id and code not in needed:
            found.append(paths.run_dir(first.id))
    return found


def _delete(places: Iterable[Path]) -> int:
    """Bytes freed. What is not there is as good as deleted; links are deleted, not followed."""
    freed = 0
    for place in places:
        if place.is_symlink() or place.is_file():
            freed += place.lstat().st_size
            place.unlink()
        elif place.is_dir():
            freed += sum(f.lstat().st_size for f in place.rglob("*") if f.is_file() and not f.is_symlink())
            shutil.rmtree(place)
    return freed


async def sweep_objects(ctx: Context, paths: Paths) -> int:
    """Content of frozen code that no run needs any more; bytes freed. Beside no capture."""
    codes = {run.code.frozen_dir: run.code for run in ctx.store.runs() if run.code is not None}
    keep = [code for place, code in codes.items() if (Path(place) / MANIFEST).exists()]
    older = ctx.clock.time() - YOUNG
    try:
        return await asyncio.to_thread(sweep_code, paths.objects_dir, keep, older_than=older)
    except (CholineError, OSError) as error:
        log.warning("old code stays on the disk: %s", error)
        return 0
