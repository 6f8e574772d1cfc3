"""A remote without SSH: a home with the program in it, spoken to by its verbs."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from choline_tui.kernel import frames
from choline_tui.kernel.protocol import Frame, JobStatus
from choline_tui.provision.install import Program, program
from tests.support import wait_until


def old_python() -> str:
    """Python 3.8 where it is here, for it is the oldest a remote may have; else the one running."""
    path = shutil.which("python3.8")
    if path:
        done = subprocess.run(
            [path, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True
        )
        if done.returncode == 0:
            return done.stdout.strip()
    return sys.executable


class Remote:
    def __init__(self, home: Path, python: str = sys.executable) -> None:
        self.home = home
        self.python = python
        self.system = home / "choline/.system"
        self.system.mkdir(parents=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "USER": "tester"}
        self.install(program())

    def install(self, installation: Program) -> None:
        path = self.system / "supervisor.pyz"
        path.with_suffix(".new").write_bytes(installation.data)
        path.with_suffix(".new").rename(path)

    def argv(self, *words: str) -> list[str]:
        return [self.python, "-I", "-S", str(self.system / "supervisor.pyz"), *words]

    def call(self, *words: str, data: Any = None, **env: str) -> Any:
        done = subprocess.run(
            self.argv(*words),
            input=b"" if data is None else json.dumps(data).encode(),
            capture_output=True,
            env=self.env | env,
            cwd="/",
            timeout=60,
        )
        assert done.stderr == b"", done.stderr.decode()
        answer = json.loads(done.stdout.splitlines()[-1])
        assert (done.returncode == 0) != ("error" in answer)
        return answer

    def submit(self, job: str, command: str, **more: Any) -> JobStatus:
        spec = {"id": job, "run": "r", "command": command, "grace_s": 5, **more}
        return JobStatus.from_wire(self.call("submit", data=spec))

    def status(self, job: str) -> JobStatus:
        """As on disk, with no verb that might mend anything."""
        path = self.system / "jobs" / job / "status.json"
        return JobStatus.from_wire(json.loads(path.read_text())) if path.exists() else JobStatus(job)

    def ended(self, job: str, within: float = 20.0) -> JobStatus:
        wait_until(lambda: self.status(job).state == "ended", within=within, what=f"the end of {job}")
        return self.status(job)

    def running(self, job: str) -> JobStatus:
        wait_until(lambda: self.status(job).state == "running", within=20, what=f"{job} running")
        return self.status(job)

    def log(self, job: str, source: str = "run") -> bytes:
        path = self.system / "jobs" / job / f"{source}.log"
        return path.read_bytes() if path.exists() else b""

    def stream(self, job: str, setup: int = 0, run: int = 0) -> list[Frame]:
        done = subprocess.run(
            self.argv("stream", job, "--setup", str(setup), "--run", str(run)),
            capture_output=True,
            env=self.env,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [frames.decode(line) for line in done.stdout.splitlines(keepends=True)]

    def enter(self, job: str, text: str) -> bytes:
        """What a command inside of the job prints."""
        done = subprocess.run(
            self.argv("enter", job, "--", text), capture_output=True, env=self.env, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill_shim(self, job: str) -> None:
        os.kill(int((self.system / "jobs" / job / "claim").read_text()), signal.SIGKILL)

    def supervisor(self) -> int:
        path = self.system / "supervisor.json"
        return int(json.loads(path.read_text())["pid"]) if path.exists() else 0

    def kill_supervisor(self) -> None:
        os.kill(self.supervisor(), signal.SIGKILL)

    def path(self, name: str) -> str:
        return shlex.quote(str(self.home / name))

    def processes(self) -> list[int]:
        """Every process that was started for this home."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                    if os.fsencode(self.home) in text:
                        found.append(int(entry.name))
        return found

    def close(self) -> None:
        for _ in range(3):
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), within=10, what="the end of all processes")
