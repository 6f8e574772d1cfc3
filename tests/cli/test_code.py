"""``checkout``, ``diff`` and ``push`` as they are typed, and what they print."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from choline_tui.cli.commands import run as run_command
from choline_tui.cli.context import Context
from choline_tui.cli.output import Output
from choline_tui.kernel.errors import NotFound, UsageError
from choline_tui.services.choline import Followed
from choline_tui.services.code import Difference
from tests.cli.fakes import HOSTILE, Bench, FakeCholine, Terminal, ended_view, forged

CODE = {
    "run": "abc123", "project": "/home/me/project", "commit": "1a2b3c4d5e6f", "message": HOSTILE,
    "branch": "main",
    "remote": "https://example.com/x.git", "dirty_count": 3, "changed_lines": 1200, "warnings": [HOSTILE],
}  # fmt: skip
FILES: list[dict[str, Any]] = [
    {"path": "train.py", "kind": "changed", "added": 12, "removed": 3, "before": None},
    {"path": f"new{HOSTILE}", "kind": "renamed", "added": 0, "removed": 0, "before": f"old{HOSTILE}"},
    {"path": "model.bin", "kind": "added", "added": None, "removed": None, "before": None},
]
TEXT = b"diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-one\n+\x1b[2Jtwo\n"


@dataclass
class Coder(FakeCholine):
    files: list[dict[str, Any]] = field(default_factory=lambda: list(FILES))
    sent: dict[str, Any] = field(default_factory=dict)

    async def checkout(self, run: str, into: Path) -> dict[str, Any]:
        self._ask("checkout", (run, into))
        return {**CODE, "into": str(into), "files": 7, "bytes": 1234}

    async def diff(self, run: str, other: str = "", **how: Any) -> Difference:
        self._ask("diff", (run, other, how))

        async def text() -> AsyncIterator[bytes]:
            if how["text"] and self.files:
                yield TEXT[:40]
                yield TEXT[40:]

        return Difference(CODE, {**CODE, "run": other or None}, self.files, text())

    async def push(self, run: str) -> dict[str, Any]:
        self._ask("push", run)
        while self.stream and "follow" not in self.methods():
            await asyncio.sleep(0)  # as if it took until somebody looks
        await asyncio.sleep(0)
        empty = {"run": "abc123", "files": [], "bytes": 0, "deleted": [], "warnings": [], "skipped": []}
        return {**empty, **self.sent}


@pytest.fixture
def coder(bench: Bench) -> Coder:
    bench.choline = Coder(views=[ended_view()])
    return bench.choline


def test_checkout_says_where_the_code_is_and_what_it_was(bench: Bench, coder: Coder, tmp_path: Path) -> None:
    code, out, err = bench("checkout", "abc", str(tmp_path / "x"))
    assert code == 0 and coder.asked[-1] == ("checkout", ("abc123", tmp_path / "x"))
    assert out.startswith(f"7 files, 1.2 kB in {tmp_path}/x\n")
    assert "1a2b3c4d5e6f" in out and "main" in out and "3 files changed, 1,200 lines" in out
    assert err.startswith("! ") and not forged(out + err)
    bench("checkout", "tiny")
    assert coder.asked[-1] == ("checkout", ("abc123", Path("abc123-code")))
    assert '"dirty_count": 3' in bench("checkout", "abc", "--json")[1]
    with pytest.raises(NotFound):
        bench("checkout", "zzz")


def test_diff_in_few_words_and_as_a_document(bench: Bench, coder: Coder) -> None:
    code, out, _ = bench("diff", "abc", "def", "--stat")
    assert code == 0 and coder.asked[-1] == ("diff", ("abc", "def", {"text": False, "binary": False}))
    assert "+12" in out and "-3" in out and "binary" in out and " -> new" in out and not forged(out)
    assert out.endswith("3 files differ, 12 lines added, 3 removed\n")
    out = bench("diff", "abc", "--json")[1]
    assert '"run": null' in out and '"added": 12' in out and out.isascii()
    with pytest.raises(UsageError):
        bench("diff", "abc", "--json", "--stat")
    coder.files = []
    assert bench("diff", "abc", "def", "--stat")[1] == "0 files differ, 0 lines added, 0 removed\n"


def pipe() -> io.TextIOWrapper:
    """A stdout that is no terminal: bytes have a way of their own, as ``sys.stdout`` has."""
    return io.TextIOWrapper(io.BytesIO(), "utf-8")


def shown(coder: Coder, stdout: Any, environ: dict[str, str], *words: str) -> tuple[int, str]:
    err = io.StringIO()
    out = Output(stdout, err, environ, color=isinstance(stdout, Terminal))
    context = Context(out, environ=environ, make=lambda start: coder)  # type: ignore[arg-type,return-value]
    return run_command(list(words), context), err.getvalue()


def test_into_a_pipe_goes_the_patch_itself(coder: Coder) -> None:
    out = pipe()
    assert shown(coder, out, {}, "diff", "abc") == (0, "")
    out.seek(0)
    assert out.buffer.read() == TEXT
    assert coder.asked[-1] == ("diff", ("abc", "", {"text": True, "binary": True}))
    coder.files = []
    assert "the files in /home/me/project is the same" in shown(coder, pipe(), {}, "diff", "abc")[1]


def test_on_a_terminal_it_is_inert_painted_and_paged(coder: Coder, tmp_path: Path) -> None:
    terminal = Terminal()
    assert shown(coder, terminal, {"PAGER": ""}, "diff", "abc")[0] == 0
    text = terminal.getvalue()
    assert "\x1b[31m-one\x1b[0m" in text and "\x1b[36m@@ -1 +1 @@" in text and "two" in text
    assert "\x1b[2J" not in text and coder.asked[-1][1][2] == {"text": True, "binary": False}
    (tmp_path / "pager").write_text(f'#!/bin/sh\ncat > {tmp_path}/seen; echo "$1 $LESS" > {tmp_path}/said\n')
    (tmp_path / "pager").chmod(0o755)
    terminal = Terminal()
    environ = {"PAGER": f"{tmp_path}/pager 'a b'", "PATH": "/usr/bin:/bin"}
    assert shown(coder, terminal, environ, "diff", "abc")[0] == 0
    assert (tmp_path / "seen").read_text() == text and terminal.getvalue() == ""
    assert (tmp_path / "said").read_text() == "a b FRX\n"
    # whoever leaves the pager has seen enough
    (tmp_path / "pager").write_text("#!/bin/sh\nexit 0\n")
    assert shown(coder, Terminal(), environ, "diff", "abc")[0] == 0


def test_push_says_what_was_sent_and_what_was_not(bench: Bench, coder: Coder) -> None:
    assert bench("push", "abc") == (0, "nothing changed since it was sent to run abc123\n", "")
    coder.sent = {
        "files": ["train.py", f"x{HOSTILE}", *(f"f{n}" for n in range(30))], "bytes": 2048,
        "deleted": ["gone.py"], "skipped": [HOSTILE], "warnings": ["link out"],
    }  # fmt: skip
    code, out, err = bench("push", "abc")
    assert code == 0 and out.startswith("32 files, 2.0 kB sent to run abc123\n  train.py\n")
    assert out.endswith("  and 12 more\n") and not forged(out + err)
    assert "deleted here, still there: 1 file (gone.py)" in err and "link out" in err
    assert '"deleted": [' in bench("push", "abc", "--json")[1]


def test_push_shows_how_far_it_is(coder: Coder) -> None:
    """On a terminal: bytes and time left of what is sent, and nothing of what comes home meanwhile."""
    home = {"what": "results", "bytes_done": 1, "bytes_total": 9, "seconds_left": 77.0}
    sent = {"what": "sending", "bytes_done": 3 << 20, "bytes_total": 9 << 20, "seconds_left": 12.0}
    coder.stream = [Followed(progress=home), Followed(progress=sent)]
    coder.sent = {"files": ["big.bin"], "bytes": 9 << 20}
    shown = Bench(coder, terminal=True)
    code, out, err = shown("push", "abc")
    assert code == 0 and "9.4 MB sent" in out
    assert "looking for what changed" in err and "33%" in err and "12s left" in err and "results" not in err
    assert err.endswith("\r\x1b[K"), "nothing of it stays"
