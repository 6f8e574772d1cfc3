"""The whole job, once, with real parts; and what is left when it is interrupted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from choline_tui.cli.completion import script
from choline_tui.cli.demo_parts import STEPS, EnginePart, check_results
from choline_tui.cli.simulate import write_whole
from choline_tui.kernel.errors import UsageError
from choline_tui.services import launch
from tests.support import needs, wait_until


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "choline_tui.cli", *words]


def processes_of(folder: str) -> list[str]:
    """Command lines and homes of processes that name ``folder``; Linux only."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if folder.encode() in text and state != "Z":
            found.append((entry / "cmdline").name + " " + text[:200].decode(errors="replace"))
    return found


def test_the_demo_holds_and_leaves_nothing(tmp_path: Path) -> None:
    needs("git")
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command("demo", "--headless", "--boot", "2", "--keep-files"),
        capture_output=True, text=True, timeout=120, env=env, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✔") == 6 and "✘" not in done.stdout
    assert "step 6/6" in done.stdout
    found = re.search(r"Its files are in (\S+);", done.stdout)
    assert found is not None
    root = Path(found[1])
    assert json.loads((root / "market.json").read_text())["made"] == 1
    results = next((root / "project" / "results").iterdir())
    assert len((results / "results" / "metrics.jsonl").read_text().splitlines()) == STEPS
    # the engine's lock is free a moment before its process has ended
    wait_until(lambda: not processes_of(str(root)), within=20, what="every process of the demo has ended")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_ends_its_engine_and_its_market(tmp_path: Path, number: signal.Signals) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(
        command("demo", "--headless", "--boot", "60"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env=env, cwd=tmp_path,
        # whoever runs the tests may ignore it, as a shell does for its background jobs
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert running.stdout is not None
    with running, running.stdout:
        for line in running.stdout:
            if "rented: contract" in line:
                break
        running.send_signal(number)
        for line in running.stdout:
            if "taking down" in line:
                break
        # once more, while it takes down: as a closed terminal does, or somebody who does not like to wait
        running.send_signal(number)
        rest = running.stdout.read()
        assert running.wait(60) == 130, rest
    assert "Interrupted" in rest
    wait_until(lambda: not processes_of(str(tmp_path)), within=20, what="every process of the demo has ended")
    assert list(tmp_path.glob("choline-demo-*")) == []


def test_results_that_are_not_right_are_found(tmp_path: Path) -> None:
    results, log = tmp_path / "r", tmp_path / "run" / "attempt-1"
    assert check_results(results, tmp_path / "run") != ""
    for folder in (results / "results", results / "keep", log):
        folder.mkdir(parents=True)
    metrics = "".join(json.dumps({"step": n}) + "\n" for n in range(1, STEPS + 1))
    (results / "results" / "metrics.jsonl").write_text(metrics)
    (results / "keep" / "checkpoint.json").write_text(
        json.dumps({"step": STEPS, "loss": round(2 / STEPS, 4)})
    )
    (log / "run.log").write_text("".join(f"step {n}\n" for n in range(STEPS)) + "done\n")
    assert check_results(results, tmp_path / "run") == ""
    (log / "run.log").write_text("done\n")
    assert "log" in check_results(results, tmp_path / "run")
    (results / "keep" / "checkpoint.json").write_text("{}")
    assert "checkpoint" in check_results(results, tmp_path / "run")
    (results / "results" / "metrics.jsonl").write_text(metrics[: len(metrics) // 2])
    assert check_results(results, tmp_path / "run") != ""


def test_a_simulate_whose_owner_is_gone_ends(tmp_path: Path) -> None:
    ready, report = tmp_path / "ready", tmp_path / "report"
    words = [
        "--port",
        "0",
        "--offers",
        "20",
        "--ready-file",
        str(ready),
        "--report-file",
        str(report),
        "--until-eof",
    ]
    running = subprocess.Popen(command("simulate", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert running.stdin is not None and running.stdout is not None
    with running:
        wait_until(ready.exists, what="the market is ready")
        assert ready.read_text().startswith("http://127.0.0.1:")
        running.stdin.close()
        assert running.wait(20) == 0
    assert json.loads(report.read_text())["made"] == 0


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_whole(tmp_path / "none" / "file", "x")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_read_by_their_shells(shell: str, tmp_path: Path) -> None:
    text = script(shell)
    assert "choline _runs" in text and "offers" in text
    if shell == "bash":
        needs("bash")
    if shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(text)
        subprocess.run([shell, "-n", str(file)], check=True)


def test_bash_completes_commands_and_flags(tmp_path: Path) -> None:
    needs("bash")
    file = tmp_path / "choline.bash"
    file.write_text(script("bash"))
    (tmp_path / "choline").write_text("#!/bin/sh\necho abc123\n")
    (tmp_path / "choline").chmod(0o755)
    ask = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '$(complete -p choline | sed "s/.*-F \\([^ ]*\\).*/\\1/") choline; printf "%s\\n" "${COMPREPLY[@]}"'
    )

    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", ask, "bash", str(file), *words], capture_output=True, text=True, check=True,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )  # fmt: skip
        return done.stdout.split()

    assert complete("choline", "of") == ["offers"]
    assert "--max-price" in complete("choline", "run", "--max")
    assert complete("choline", "show", "ab") == ["abc123"]


async def test_a_rehearsal_ends_no_engine_of_another_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app opens a rehearsal in its own process, and may have started the real home's engine before."""
    sleeper = ["sleep", "600"]
    real, ours = subprocess.Popen(sleeper), subprocess.Popen(sleeper)
    monkeypatch.setattr(launch, "STARTED", [(tmp_path / "real", real), (tmp_path / "home", ours)])
    try:
        await EnginePart(tmp_path / "home", {}).end()
        assert ours.poll() is not None and real.poll() is None
    finally:
        for process in (real, ours):
            process.kill()
            process.wait()
