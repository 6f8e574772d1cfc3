"""The list of runs as a file: exact numbers, no foreign text that a spreadsheet would carry out."""

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from choline_tui.kernel.text import plain
from choline_tui.screens.runs.cells import commit_of, state_word

if TYPE_CHECKING:
    from choline_tui.services.choline import RunView

__all__ = ["saved_view"]


def saved_view(views: "Sequence[RunView]", kind: str, now: float) -> str:
    """``csv`` or ``json``. Money in $ and $/h, times in epoch s."""
    rows = [_row(view, now) for view in views]
    if kind == "json":
        return json.dumps({"at": now, "runs": rows}, indent=2, ensure_ascii=False) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["run"])
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _row(view: "RunView", now: float) -> dict[str, Any]:
    run, rental = view.run, view.rental
    return {
        "run": run.id,
        "name": plain(run.plan.name),
        "state": state_word(run),
        "reason": plain(run.reason),
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "exit_code": run.exit_code,
        "cost": view.cost(now),
        "per_hour": view.per_hour(),
        "rental": rental.id if rental is not None else None,
        "rental_state": str(rental.state) if rental is not None else None,
        "num_gpus": rental.num_gpus if rental is not None else None,
        "gpu": plain(rental.gpu_name) if rental is not None else None,
        "place": plain(rental.place_name) if rental is not None else None,
        "commit": commit_of(run),
        "note": plain(run.plan.note),
        "results": plain(run.plan.results_into),
    }


def _cell(value: Any) -> Any:
    """A text that begins like a formula is one to a spreadsheet."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return f"'{value}"
    return value
