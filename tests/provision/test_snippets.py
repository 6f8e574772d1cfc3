"""What runs on a remote before anything of ours is there, by every shell there is."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from choline_tui.kernel.protocol import Lease
from choline_tui.provision import snippets
from choline_tui.provision.install import program
from tests.support import needs

SHELLS = ["dash", "bash", "busybox"]


def run(shell: str, script: bytes, home: Path, **env: str) -> "subprocess.CompletedProcess[bytes]":
    needs(shell)
    argv = [shell, "sh", "-s"] if shell == "busybox" else [shell, "-s"]
    argv[0] = shutil.which(shell) or shell
    return subprocess.run(
        argv, input=script, capture_output=True, cwd="/", timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **env},
    )  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
def test_a_python_at_a_strange_place(shell: str, tmp_path: Path) -> None:
    home = tmp_path / "ho me 'q\" $x"
    home.mkdir()
    python = home / 'it\'s "py" $HOME'
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = snippets.prepare("r", Lease(60), python=str(python), program=program().data)
    done = run(shell, script, home)
    assert done.stderr == b""
    status = json.loads(done.stdout)
    try:
        assert status["version"] == program().version
        lies = (home / "choline/.system/supervisor.pyz").read_bytes()
        there, sent = (zipfile.ZipFile(io.BytesIO(data)) for data in (lies, program().data))
        assert lies.splitlines()[:2] == program().data.splitlines()[:2]
        assert {n: there.read(n) for n in sent.namelist()} == {n: sent.read(n) for n in sent.namelist()}
        assert {n + "c" for n in sent.namelist()} <= set(there.namelist()), "compiled once, for every verb"
        assert (home / "choline/.system").stat().st_mode & 0o777 == 0o700
        assert (home / "choline/r/results").is_dir()
    finally:
        os.kill(status["pid"], signal.SIGKILL)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_probe_finds_a_python_that_will_do(shell: str, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "sed", "head", "tail", "df", "grep", "timeout", "cat"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "python3").write_text("#!/bin/sh\nexit 0\n")  # says nothing: too old
    (tools / "python3.9").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "nvidia-smi").write_text("#!/bin/sh\nprintf 'NVIDIA A100, 40960, 550\\n'\n")
    for tool in ("python3", "python3.9", "nvidia-smi"):
        (tools / tool).chmod(0o755)
    done = run(shell, snippets.probe(), tmp_path, PATH=str(tools))
    assert done.stderr == b""
    told = snippets.marked(b"Welcome!\ncholine: not one\n" + done.stdout + b"bye")
    assert told["home"] == [str(tmp_path)]
    assert told["gpu"] == ["NVIDIA A100, 40960, 550", "choline-exit 0"]
    assert told["python"][0].startswith("3.")
    assert "rsync" not in told
    assert list(tmp_path.iterdir()) == [tools]


def test_marked_lines_are_bounded() -> None:
    told = snippets.marked(b"choline:a=1\n" * 5000 + b"".join(b"choline:k%d=x\n" % n for n in range(500)))
    assert len(told) <= 100
    assert len(told["a"]) == 1000
