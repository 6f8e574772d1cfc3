"""Every benchmark runs in its quick form and gives its rows; what the figures are is no matter here."""

import os

import pytest

from tests.bench import report
from tests.bench.__main__ import ALL
from tests.support import needs
from tests.support.official import official_client

ROWS = {
    "decode": 1, "startup": 1, "offers": 3, "first_line": 1, "transfer": 12, "table": 16, "log": 9,
    "app_start": 1, "feed": 2, "runs": 7, "code_state": 4, "warm": 2, "results": 2,
}  # fmt: skip
NEEDS = {
    "first_line": ("sshd", "ssh", "rsync", "git"), "warm": ("sshd", "ssh", "rsync", "git"),
    "transfer": ("sshd", "ssh", "rsync"), "results": ("sshd", "ssh", "rsync"),
}  # fmt: skip


@pytest.fixture(scope="session")
def vastai() -> str:
    """Its program; "" when it cannot be installed here."""
    try:
        return str(official_client())
    except RuntimeError:
        if os.environ.get("CI"):
            raise
        return ""


@pytest.mark.parametrize("name", ALL)
def test_quick(name: str, vastai: str, capsys: pytest.CaptureFixture[str]) -> None:
    needs(*NEEDS.get(name, ()))
    if name == "offers" and not vastai:
        pytest.skip("the official client cannot be installed")
    report.main(ALL[name], "about", ["--quick"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == list(report.HEAD)
    assert len(rows) == ROWS[name]
    assert all((" s " in row or " MiB " in row or " cores " in row) and "x" in row for row in rows)


def test_a_table_says_what_was_met() -> None:
    figures = [
        report.Figure("fast", 1.0, 4.0, 0.5),
        report.Figure("slow", 3.0, 1.0, 0.5),
        report.Figure("over", 3.0, 0.5, 2.0, extra=True),
        report.Figure("within", 2.5, 0.5, 2.0, extra=True),
        report.Figure("told", 2.5, 0.5),
    ]
    assert [figure.met for figure in figures] == [True, False, False, True, None]
    assert [line.split()[-1] for line in report.table(figures).splitlines()][1:4] == ["yes", "NO", "NO"]
