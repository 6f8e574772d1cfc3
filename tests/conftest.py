"""Every test has a home of its own: no setting, key or file of the person who runs them is ever seen."""

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

_OURS = ("CHOLINE_", "VAST_", "VASTAI_", "XDG_", "GIT_", "TEXTUAL")
_NAMED = (
    "NETRC",
    "HF_TOKEN",
    "WANDB_API_KEY",
    "SSH_AUTH_SOCK",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "CONTAINER_ID",
    "CONTAINER_API_KEY",
)


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HOME, with ``CHOLINE_HOME`` below it; returns the HOME."""
    for name in list(os.environ):
        if name.startswith(_OURS) or name in _NAMED:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_CACHE_HOME", ".cache"),
    ):
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("CHOLINE_HOME", str(home / "choline"))
    # git: nothing of this computer's settings, and somebody to commit as
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@example.invalid")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    # nobody's keyring is asked, nor any session bus started for one
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    return home


TOGETHER = ("tests/package/test_wheel.py",)
"""files whose tests share something dear (an installation), and so a process"""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Single tests go to whoever is free, those of ``TOGETHER`` to one process. Not by ``xdist_group``: of
    that mark pytest-xdist 3.8 sees nothing since pytest 9.2, which keeps a test's id elsewhere."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped, unused-ignore]

    class ByFile(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in TOGETHER else nodeid

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the SSH servers it had wrote: why one refused is in no other place."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            log = getattr(value, "root", None)
            if isinstance(log, Path) and (log / "log").is_file():
                report.sections.append((f"log of {name}", (log / "log").read_text(errors="replace")[-4000:]))
    return report
