"""Everything about one offer, and what a run of yours would cost there."""

import textwrap
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from choline_tui.kernel.text import plain
from choline_tui.screens.offers.columns import BAD_TRUST, gpu_price, ram_share, trust
from choline_tui.screens.offers.market import Needs, Row, age, place_of
from choline_tui.screens.windows import Window

if TYPE_CHECKING:
    from choline_tui.services.hosts import HostMemory

__all__ = ["DetailPane", "DetailScreen", "details"]

Line = tuple[str, str, str]
"""name, text (inert), style"""
WIDE = 11


def _n(value: object, digits: int = 0, scale: float = 1.0, unit: str = "") -> str:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "?"
    return f"{value * scale:,.{digits}f}{unit}"


def _money(value: float | None, digits: int = 4) -> str:
    return "?" if value is None else f"${value:,.{digits}f}"


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part and not part.startswith("?"))


def details(
    row: Row, needs: Needs, disk_gb: float, memory: "HostMemory | None", now: float, cap: float | None = None
) -> list[Line]:
    """Inert lines; ('', title, 'title') begins a part."""
    gpu = plain(str(row.get("gpu_name") or "unknown GPU"))
    lines: list[Line] = [("", f"{_n(row.get('num_gpus'))}x {gpu}", "title")]

    def add(name: str, text: str, style: str = "") -> None:
        if text:
            lines.append((name, plain(text).replace("\n", " ").replace("\t", " ")[:200], style))

    kind = "interruptible" if row.get("is_bid") else "on-demand"
    add("price", f"{_money(row.get('price'))}/h with {disk_gb:g} GB, {kind}", "strong")
    add("", f"GPUs {_money(gpu_price(row))}/h, disk ${_n(row.get('storage_cost'), 3)}/GB-mo")
    if cap is not None:
        fits = row.get("price") is not None and row["price"] <= cap
        add("cap", f"{_money(cap)}/h: {'under it' if fits else 'above it'}", "" if fits else "warn")
    if row.get("min_bid") is not None:
        add("bid", f"{_money(row.get('min_bid'))}/h wins now")
    lines += _cost(row, needs, disk_gb)
    lines.append(("", "machine", "title"))
    add(
        "GPU",
        _join(_n(row.get("gpu_ram"), 0, 1 / 1024, " GB each"), _n(row.get("gpu_mem_bw"), 0, 1, " GB/s")),
    )
    speed = (_n(row.get("dlperf"), 0, 1, " DLPerf"), _n(row.get("dlperf_per_dphtotal"), 0, 1, " per $/h"))
    add("speed", _join(*speed, _n(row.get("total_flops"), 0, 1, " TFLOPS")))
    capability = f"capability {_n(row.get('compute_cap'), 1, 0.01)}" if row.get("compute_cap") else ""
    driver = str(row.get("driver_version") or "")
    add("driver", _join(f"CUDA {_n(row.get('cuda_max_good'), 1)}", driver, capability))
    bus = _n(row.get("pci_gen"), 0, 1, ". PCIe")
    links = (_n(row.get("gpu_lanes"), 0, 1, " lanes"), _n(row.get("pcie_bw"), 1, 1, " GB/s"))
    add("links", _join(bus, *links, _n(row.get("bw_nvlink"), 0, 1, " GB/s NVLink")))
    add("CPU", _join(_n(row.get("cpu_cores_effective"), 0, 1, " threads yours"),
                     _n(row.get("cpu_ghz"), 1, 1, " GHz"), str(row.get("cpu_name") or "")))  # fmt: skip
    share = ram_share(row)
    whole = _n(row.get("cpu_ram"), 0, 1 / 1024, " GB")
    add("RAM", f"{_n(share, 0, 1 / 1024)} GB yours of {whole}")
    add("disk", _join(_n(row.get("disk_space"), 0, 1, " GB at most"), _n(row.get("disk_bw"), 0, 1, " MB/s"),
                      str(row.get("disk_name") or "")))  # fmt: skip
    add("network", f"down {_n(row.get('inet_down'))}, up {_n(row.get('inet_up'))} Mbit/s")
    add("", f"$/GB down {_n(row.get('inet_down_cost'), 4)}, up {_n(row.get('inet_up_cost'), 4)}")
    ports = row.get("direct_port_count")
    add(
        "ports",
        f"{_n(ports)} direct" if ports else "none direct: by the market's proxy",
        "" if ports else "warn",
    )
    lines.append(("", "host", "title"))
    add("place", place_of(row) or "not told")
    value = trust(row)
    low = value is not None and value < BAD_TRUST
    known = row.get("verification") or ("verified" if row.get("verified") else "")
    hosting = {0: "consumer", 1: "datacenter"}.get(row.get("hosting_type"), "")  # type: ignore[arg-type]
    add("reliable", _join(_n(value, 2, 100, " %"), str(known), hosting), "warn" if low else "")
    left = row.get("duration")
    add("contract", f"{age(float(left))} left" if isinstance(left, (int, float)) else "time left not told",
        "warn" if isinstance(left, (int, float)) and left < needs.hours * 3600 else "")  # fmt: skip
    if memory is not None:
        if memory.refused:
            add("refused", f"by this home: {memory.refused}", "bad")
        if memory.runs:
            text = (
                f"{memory.runs}: {memory.succeeded} ok, {memory.failed} failed, {memory.errors} the machine's"
            )
            add("our runs", text, "warn" if memory.errors else "good")
            if memory.last:
                add("", f"last {age(now - memory.last)} ago")
    else:
        add("our runs", "none yet", "dim")
    add(
        "ids",
        _join(
            f"offer {row.get('id')}",
            f"machine {row.get('machine_id', '?')}",
            f"host {row.get('host_id', '?')}",
        ),
    )
    return lines


def _cost(row: Row, needs: Needs, disk_gb: float) -> list[Line]:
    """For the person's own hours and bytes."""
    from choline_tui.model.market_types import salvage
    from choline_tui.model.offer import Offer
    from choline_tui.model.price import cost

    offer = salvage(Offer, row)
    if offer is None:
        return []
    found = cost(offer, needs.hours, needs.gb_up, needs.gb_down, disk_gb)
    total = found.total
    title = f"{_money(total, 2)}" if total is not None else f"at least {_money(found.known, 2)}"
    return [
        ("", "cost of this run", "title"),
        ("all in", title, "strong"),
        ("GPUs", f"{_money(found.gpu, 2)} for {needs.hours:g} h", ""),
        ("disk", f"{_money(found.disk, 2)} for {disk_gb:g} GB", ""),
        ("down", f"{_money(found.down, 2)} for {needs.gb_down:g} GB in", ""),
        ("up", f"{_money(found.up, 2)} for {needs.gb_up:g} GB home", ""),
    ]


_STYLES = {"title": "bold $text-accent", "strong": "bold", "warn": "$text-warning", "bad": "bold $text-error",
           "good": "$text-success", "dim": "$muted", "": ""}  # fmt: skip


def draw(lines: list[Line], width: int) -> Content:
    """In so many cells; what does not fit goes on in the next line, under its own beginning."""
    drawn = []
    for at, (name, text, style) in enumerate(lines):
        if style == "title":
            if at:
                drawn.append(Content(""))
            drawn.append(Content.styled(text, _STYLES["title"]))
            continue
        sign = "! " if style in ("warn", "bad") else ""
        pieces = textwrap.wrap(sign + text, max(10, width - WIDE), break_on_hyphens=False) or [""]
        for number, piece in enumerate(pieces):
            label = Content.styled(f"{name if number == 0 else '':<{WIDE}}", "$muted")
            drawn.append(label + Content.styled(piece, _STYLES[style]))
    return Content("\n").join(drawn)


class Sheet(Static):
    """The lines, as wide as there is room."""

    DEFAULT_CSS = "Sheet { height: auto; width: 1fr; }"

    def __init__(self, lines: list[Line] | None = None) -> None:
        super().__init__("", markup=False)
        self.lines = lines

    def on_resize(self) -> None:
        self.show(self.lines)

    def show(self, lines: list[Line] | None) -> None:
        self.lines = lines
        nothing = Content.styled("No offer under the cursor.", "$muted")
        self.update(nothing if lines is None else draw(lines, self.size.width or 40))


class DetailPane(VerticalScroll, can_focus=True):
    """At the side, when there is room."""

    DEFAULT_CSS = """
    DetailPane { width: 48; height: 1fr; padding: 0 1; background: $surface; border-left: tall $panel;
                 scrollbar-size-vertical: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Sheet()

    def show(self, lines: list[Line] | None) -> None:
        self.query_one(Sheet).show(lines)


class DetailScreen(Window[None]):
    """The same as a window."""

    HEADING = "Offer"
    DEFAULT_CSS = "DetailScreen > #window { max-width: 80; }"

    def __init__(self, lines: list[Line]) -> None:
        super().__init__()
        self.lines = lines

    def compose_inside(self) -> ComposeResult:
        with VerticalScroll(id="details"):
            yield Sheet(self.lines)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#details").focus()
