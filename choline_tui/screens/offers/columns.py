"""The columns of the offers table: what they hold, how it is written, which go first when it is narrow."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from choline_tui.screens.offers.market import Row, place_of
from choline_tui.widgets.columns import Column

if TYPE_CHECKING:
    from choline_tui.services.hosts import HostMemory

__all__ = ["BAD_TRUST", "columns", "ram_share", "trust"]

BAD_TRUST = 0.95
"""reliability below which a host is pointed out"""
SHORT = 86_400.0
"""s of contract left below which it is pointed out"""

Value = Callable[[Row], Any]


def _number(name: str, scale: float = 1.0) -> Value:
    def read(row: Row) -> Any:
        value = row.get(name)
        return value * scale if isinstance(value, (int, float)) else None

    return read


def _written(value: Value, digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        found = value(row)
        return "?" if found is None else f"{found:.{digits}f}"

    return text


def trust(row: Row) -> float | None:
    """Reliability, 0 to 1."""
    value = row.get("reliability2", row.get("reliability"))
    return float(value) if isinstance(value, (int, float)) else None


def ram_share(row: Row) -> float | None:
    """MB of RAM of the slice, as ``model.offer`` has it: ``cpu_ram`` is the whole machine's."""
    whole, mine, cores = row.get("cpu_ram"), row.get("cpu_cores_effective"), row.get("cpu_cores")
    if not isinstance(whole, (int, float)):
        return None
    if isinstance(mine, (int, float)) and isinstance(cores, (int, float)) and cores > 0:
        return whole * min(1.0, max(0.0, mine / cores))
    part = row.get("gpu_frac")
    return whole * part if isinstance(part, (int, float)) else None


def gpu_price(row: Row) -> float | None:
    """$/h without disk: the base price, or the lowest bid that wins now."""
    value = row.get("min_bid") if row.get("is_bid") else row.get("dph_base")
    return float(value) if isinstance(value, (int, float)) else None


def _right(
    key: str, label: str, width: int, value: Value, digits: int, priority: int, help: str,
    style: Callable[[Row], str] | None = None,
) -> Column[Row]:  # fmt: skip
    return Column(key, label, width, value, _written(value, digits), True, priority, style, help)


def columns(memory: "Callable[[Row], HostMemory | None]") -> list[Column[Row]]:
    """``memory``: what is remembered of a row's machine."""

    def remembered(row: Row) -> Any:
        known = memory(row)
        if known is None:
            return None
        return (-1 if known.refused else 0) - known.errors + known.succeeded / 1000

    def ours(row: Row) -> str:
        known = memory(row)
        if known is None:
            return ""
        if known.refused:
            return "refused"
        good = f"{known.succeeded} ok" if known.succeeded else ""
        bad = f"{known.errors} bad" if known.errors else ""
        some = f"{known.runs} run{'s' if known.runs > 1 else ''}"
        return f"{bad} {good}".strip() or some

    def ours_style(row: Row) -> str:
        known = memory(row)
        if known is None:
            return ""
        return "bad" if known.refused else "warn" if known.errors else "good" if known.succeeded else ""

    def low_trust(row: Row) -> str:
        value = trust(row)
        return "warn" if value is not None and value < BAD_TRUST else ""

    def short(row: Row) -> str:
        left = row.get("duration")
        return "warn" if isinstance(left, (int, float)) and left < SHORT else ""

    def kind(row: Row) -> str:
        return "int" if row.get("is_bid") else "dem"

    per_gb = "$ for a GB"
    return [
        _right("price", "$/h", 8, _number("price"), 4, 0, "hourly price with the disk of your run"),
        Column("gpu", "GPU", 13, lambda r: r.get("gpu_name"), lambda r: str(r.get("gpu_name") or "?"),
               help="kind of GPU", grow=1),
        _right("n", "n", 2, _number("num_gpus"), 0, 0, "number of GPUs"),
        _right("vram", "VRAM GB", 7, _number("gpu_ram", 1 / 1024), 0, 1, "memory of each GPU"),
        Column("place", "place", 11, lambda r: place_of(r) or None, lambda r: place_of(r) or "?",
               priority=3, help="where the machine is", grow=1),
        _right("reliability", "rel %", 5, lambda r: None if (t := trust(r)) is None else t * 100, 1, 2,
               "how reliable the market thinks the host is", low_trust),
        Column("ours", "ours", 10, remembered, ours, priority=4, style=ours_style,
               help="what this home remembers of the machine: runs that went well (ok) or badly, refusals"),
        _right("dlperf_usd", "DLP/$", 6, _number("dlperf_per_dphtotal"), 0, 5, "DLPerf score for a $/h"),
        _right("down", "dn Mb/s", 7, _number("inet_down"), 0, 6, "network into the machine"),
        _right("up", "up Mb/s", 7, _number("inet_up"), 0, 7, "network out of the machine"),
        _right("cpu", "CPU", 4, _number("cpu_cores_effective"), 0, 8, "threads of your share"),
        _right("ram", "RAM GB", 6, lambda r: None if (s := ram_share(r)) is None else s / 1024, 0, 9,
               "RAM of your share"),
        _right("disk", "disk GB", 7, _number("disk_space"), 0, 10, "largest disk"),
        _right("cuda", "CUDA", 4, _number("cuda_max_good"), 1, 11, "newest CUDA its driver supports"),
        _right("days", "days", 5, _number("duration", 1 / 86400), 1, 12, "contract time left", short),
        _right("dlperf", "DLPerf", 6, _number("dlperf"), 0, 13, "DLPerf score of all GPUs"),
        _right("gpu_price", "GPU $/h", 8, gpu_price, 4, 14, "hourly price without disk"),
        _right("storage", "$/GB-mo", 7, _number("storage_cost"), 3, 15, "disk: $ for a GB a month of 720 h"),
        _right("down_cost", "dn $/GB", 7, _number("inet_down_cost"), 4, 16, per_gb + " into the machine"),
        _right("up_cost", "up $/GB", 7, _number("inet_up_cost"), 4, 17, per_gb + " out of the machine"),
        _right("ports", "ports", 5, _number("direct_port_count"), 0, 18, "ports that can be opened"),
        Column("type", "type", 4, kind, kind, priority=19, help="dem: on-demand, int: interruptible"),
    ]  # fmt: skip
