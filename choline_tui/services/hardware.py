"""A project's hardware as a filter over offers, and back."""

from collections.abc import Mapping
from typing import Any

from choline_tui.kernel.errors import QueryError, UsageError
from choline_tui.model.conditions import Condition, Query
from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
from choline_tui.model.query import parse_query

__all__ = ["as_filter", "from_filter", "vram_of", "with_vram"]


def as_filter(gpu: str, query: str) -> str:
    """The text of both, as it is typed on the offers screen. Raises QueryError."""
    added: list[Condition] = []
    if gpu:
        count, short = split_gpu_spec(gpu)
        names = gpu_names_for(short)
        added.append(Condition("num_gpus", "eq", count))
        added.append(
            Condition("gpu_name", "eq", names[0]) if len(names) == 1 else Condition("gpu_name", "in", names)
        )
    return Query(conditions=(*added, *parse_query(query).conditions)).text()


def from_filter(text: str) -> Mapping[str, Any]:
    """``gpu`` and ``query`` that mean the same as ``text``; None for what it does not say. A single number
    of a single kind of GPU is said as ``2xRTX 4090``. Raises QueryError."""
    query = parse_query(text)
    counts = [c for c in query.conditions if c.field == "num_gpus"]
    names = [c for c in query.conditions if c.field == "gpu_name"]
    gpu = None
    plain = len(counts) == len(names) == 1 and counts[0].op == names[0].op == "eq"
    if (
        plain
        and isinstance(counts[0].value, (int, float))
        and gpu_names_for(str(names[0].value)) == (names[0].value,)
    ):
        gpu = f"{int(counts[0].value)}x{names[0].value}"
        kept = tuple(c for c in query.conditions if c not in (counts[0], names[0]))
        query = Query(conditions=kept)
    return {"gpu": gpu, "query": query.text() or None}


def vram_of(query: str) -> str:
    """GB of memory that ``query`` asks of each GPU, '' for none (or a query that cannot be read)."""
    try:
        found = [c for c in parse_query(query).conditions if c.field == "gpu_ram" and c.op == "gte"]
    except QueryError:
        return ""
    return f"{found[0].value:g}" if found and isinstance(found[0].value, (int, float)) else ""


def with_vram(query: str, typed: str) -> str:
    """``query`` asking for that many GB on each GPU, or no more when nothing is typed. Raises UsageError."""
    read = parse_query(query)
    kept = tuple(c for c in read.conditions if not (c.field == "gpu_ram" and c.op == "gte"))
    text = typed.strip().removesuffix("GB").strip()
    if not text:
        return Query(conditions=kept).text()
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 10_000:
        raise UsageError(f"{text[:40]!r} is no number of GB")
    return Query(
        conditions=(*kept, Condition("gpu_ram", "gte", int(number) if number.is_integer() else number))
    ).text()
