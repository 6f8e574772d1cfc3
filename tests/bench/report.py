"""One figure beside its peer's, from the same run; one table for all of them."""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

__all__ = ["Figure", "Measure", "main", "missing", "table"]


@dataclass(frozen=True)
class Figure:
    """``ours`` and ``peer`` in seconds, or in ``unit``. ``aim``: the largest ratio of ours to the peer's, or
    with ``extra`` the most that ours may take beyond the peer's; None: told, no aim."""

    name: str
    ours: float
    peer: float
    aim: float | None = None
    extra: bool = False
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.ours / self.peer if self.peer else float("inf")

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return (self.ours - self.peer if self.extra else self.ratio) <= self.aim

    def cells(self) -> tuple[str, ...]:
        if self.aim is None:
            aim = ""
        elif self.extra:
            aim = f"+{self.aim:g} s"
        else:
            aim = f"{self.aim:.2f}x"
        met = {None: "", True: "yes", False: "NO"}[self.met]
        extra = f"{self.ours - self.peer:+.3f} {self.unit}"
        ours, peer = (f"{value:.{3 if value < 100 else 0}f} {self.unit}" for value in (self.ours, self.peer))
        return (self.name, ours, peer, f"{self.ratio:.{2 if self.ratio >= 0.1 else 4}f}x", extra, aim, met)


Measure = Callable[[bool], list[Figure]]
"""Takes whether it is to be quick (small amounts, few repeats: shows that it works, says little)."""

HEAD = ("name", "ours", "peer", "ratio", "difference", "aim", "met?")


def table(figures: Sequence[Figure]) -> str:
    rows = [HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        lines.append("  ".join([first, *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]))
    return "\n".join(line.rstrip() for line in lines)


def missing(*programs: str) -> None:
    """Ends with a clear word when a program is not there."""
    gone = [p for p in programs if shutil.which(p, path=None) is None and not shutil.which(f"/usr/sbin/{p}")]
    if gone:
        raise SystemExit(f"this benchmark needs {', '.join(gone)}")


def main(measure: Measure, about: str | None, argv: Sequence[str] | None = None) -> None:
    """A benchmark as a command: ``[--quick] [--json]``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few: to see that it works")
    parser.add_argument("--json", action="store_true", help="one JSON array, no table")
    options = parser.parse_args(argv)
    figures = measure(options.quick)
    if options.json:
        rows = [{**asdict(f), "ratio": f.ratio, "met": f.met} for f in figures]
        print(json.dumps(rows))
    else:
        print(table(figures), file=sys.stdout)
