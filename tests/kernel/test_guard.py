"""The guard, run for real by every shell there is, against a market that only records its calls."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.guard import MAX_SCRIPT, onstart
from tests.support import needs, wait_until

KEY = "k3y'with $pecial"
SHELLS = ["dash", "bash", "busybox"]
BASICS = (
    *("sh", "dash", "bash", "busybox", "mkdir", "chmod", "cat", "mv", "rm", "date", "grep", "sleep", "ls"),
    *("setsid", "nohup", "env", "printf", "kill"),
)


class Market:
    def __init__(self) -> None:
        calls: list[tuple[str, str, str, dict[str, object]]] = []
        self.calls = calls
        self.failures = 0
        market = self

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Content-Type") != "application/json":
                    self.send_error(415)
                    return
                if market.failures > 0:
                    market.failures -= 1
                    self.send_error(503)
                    return
                calls.append((self.command, self.path, self.headers["Authorization"], json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "16")
                self.end_headers()
                self.wfile.write(b'{"success":true}')

            do_PUT = do_DELETE = _take

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def market() -> Iterator[Market]:
    market = Market()
    yield market
    market.close()


class Box:
    """A machine: its home, its container's variables, the programs it has."""

    def __init__(self, root: Path, tools: tuple[str, ...] = ("curl", "wget")) -> None:
        self.home = root / "ho me'ü"
        self.home.mkdir()
        self.guard = self.home / "choline/.system/guard"
        bin_dir = root / "bin"
        bin_dir.mkdir()
        for name in (*BASICS, *tools):
            path = shutil.which(name)
            if path:
                (bin_dir / name).symlink_to(sys.executable if name == "python3" else path)
        self.env = {
            "PATH": str(bin_dir),
            "HOME": str(self.home),
            "CONTAINER_ID": "4711",
            "CONTAINER_API_KEY": KEY,
            "MINE": "two\nlines",
            "GUARD_POLL": "0.1",
            "GUARD_GRACE": "0.2",
            "GUARD_RETRY": "0.2",
        }

    def start(self, script: str, shell: str = "dash", **env: str) -> str:
        argv = ["busybox", "sh"] if shell == "busybox" else [shell]
        path = self.home / "onstart.sh"
        path.write_text(script)
        done = subprocess.run(
            [shutil.which(argv[0]) or argv[0], *argv[1:], str(path)],
            env=self.env | env,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def read(self, name: str) -> str:
        path = self.guard / name
        return path.read_text() if path.exists() else ""

    def loop(self) -> int:
        return int(self.read("pid") or 0)

    def close(self) -> None:
        """Whatever the pid file says at the moment: it is empty for an instant whenever a loop writes it."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.fsencode(self.guard) in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    needs("dash", "curl")
    box = Box(tmp_path)
    yield box
    box.close()


def plain_script(seconds: int, url: str, extra: str = "", *, deadline: int = 0) -> str:
    return onstart(seconds, url, extra, deadline=deadline, prerequisites=False)


@pytest.mark.parametrize("shell", SHELLS)
def test_it_stops_the_instance_at_the_deadline(shell: str, box: Box, market: Market) -> None:
    needs(shell)
    market.failures = 1
    box.start(plain_script(1, market.url), shell)
    wait_until(lambda: market.calls, within=15, what="a call to the market")
    assert market.calls[0] == (
        "PUT",
        "/api/v0/instances/4711/",
        f"Bearer {KEY}",
        {"state": "stopped"},
    )
    assert (box.home / ".no_auto_tmux").exists()
    assert (box.guard.stat().st_mode & 0o777, (box.guard / "env").stat().st_mode & 0o777) == (0o700, 0o600)
    assert box.read("env") == f"CONTAINER_ID=4711\nCONTAINER_API_KEY={KEY}\nVAST_URL={market.url}\n"
    assert b"MINE=two\nlines\0" in (box.guard / "environ").read_bytes()
    wait_until(lambda: len(market.calls) > 1, within=15, what="another call, as this one did not end us")


@pytest.mark.parametrize("tool", ["curl", "wget", "python3"])
def test_whichever_client_is_there(tool: str, tmp_path: Path, market: Market) -> None:
    needs("dash", tool)
    box = Box(tmp_path, (tool,))
    try:
        box.start(plain_script(1, market.url))
        wait_until(lambda: market.calls, within=15, what="a stop")
        (box.guard / "safe").touch()
        wait_until(lambda: [c for c in market.calls if c[0] == "DELETE"], within=15, what="a destroy")
        assert {c[2] for c in market.calls} == {f"Bearer {KEY}"}
    finally:
        box.close()


def test_the_key_is_in_no_command_line(tmp_path: Path, market: Market) -> None:
    needs("dash")
    box = Box(tmp_path, ())
    seen = tmp_path / "seen"
    for tool in ("curl", "wget", "python3"):
        fake = tmp_path / "bin" / tool
        fake.unlink(missing_ok=True)
        fake.write_text(f'#!{shutil.which("dash")}\nprintf "%s\\n" "{tool} $*" >>{seen}\nexit 1\n')
        fake.chmod(0o755)
    try:
        box.start(plain_script(1, market.url))
        wait_until(lambda: seen.exists() and "python3" in seen.read_text(), within=15, what="all three tried")
        assert "4711" in seen.read_text()
        assert "k3y" not in seen.read_text()
        assert "k3y" not in plain_script(1, market.url)
    finally:
        box.close()


def test_jobs_are_ended_first(box: Box, market: Market, tmp_path: Path) -> None:
    job = box.home / "choline/.system/jobs/j-1"
    job.mkdir(parents=True)
    mark = tmp_path / "got"
    stubborn = subprocess.Popen(
        [shutil.which("bash") or "sh", "-c", f'trap "touch {mark}" TERM; while :; do sleep 0.05; done'],
        start_new_session=True,
    )
    (job / "pgid").write_text(f"{stubborn.pid}\n")
    box.start(plain_script(1, market.url))
    assert stubborn.wait(15) == -signal.SIGKILL
    assert mark.exists()
    wait_until(lambda: market.calls, within=15, what="a stop")
    assert (box.guard / "expired").exists()


def test_a_moved_deadline_is_obeyed(box: Box, market: Market) -> None:
    box.start(plain_script(3600, market.url))
    wait_until(box.loop, within=10, what="the loop")
    assert not market.calls
    (box.guard / "deadline.n").write_text(f"{int(time.time()) - 1}\n")
    (box.guard / "deadline.n").rename(box.guard / "deadline")
    wait_until(lambda: market.calls, within=15, what="a stop")


@pytest.mark.parametrize("broken", ["", "soon", None])
def test_a_broken_deadline_ends_nothing_by_itself(broken: str | None, box: Box, market: Market) -> None:
    box.start(plain_script(2, market.url))
    deadline = int(box.read("deadline"))
    if broken is None:
        (box.guard / "deadline").unlink()
    else:
        (box.guard / "deadline").write_text(broken)
    wait_until(lambda: market.calls, within=15, what="a stop at the last deadline known")
    assert time.time() >= deadline


def test_deadlines_at_a_start_and_at_later_ones(box: Box) -> None:
    url = "http://127.0.0.1:9"
    now = int(time.time())

    def deadline() -> int:
        return int(box.read("deadline")) - now

    box.start(plain_script(5000, url, deadline=now + 3000))
    assert deadline() == 3000
    first = wait_until(box.loop, within=10, what="the loop")
    box.start(plain_script(9000, url))
    assert deadline() == 3000  # a restart does not give more time
    assert box.loop() == first  # nor a second loop
    (box.guard / "deadline").unlink()
    box.start(plain_script(5000, url, deadline=now - 100))  # the machine's clock is ahead of home's
    assert 5000 <= deadline() <= 5005
    (box.guard / "deadline").write_text(f"{now - 50}\n")
    (box.guard / "expired").touch()
    box.start(plain_script(5000, url))
    assert 1800 <= deadline() <= 1805
    assert not (box.guard / "expired").exists()
    # after a restart of the container the number in the pid file may belong to anything
    box.close()
    (box.guard / "pid").write_text(f"{os.getpid()}\n")
    box.start(plain_script(5000, url))
    wait_until(lambda: box.loop() not in (0, os.getpid()), within=10, what="a new loop")


def test_elsewhere_it_does_nothing(box: Box) -> None:
    out = box.start(plain_script(1, "http://127.0.0.1:9", "echo extra ran"), CONTAINER_ID="")
    assert out == "extra ran\n"
    assert not (box.home / "choline").exists()


def test_the_script_itself() -> None:
    script = onstart(86400, "https://console.vast.ai/", "echo mine", deadline=1795305600)
    assert script.splitlines()[0] == (
        "# choline-guard: seconds=86400 deadline=1795305600 url=https://console.vast.ai"
    )
    assert script.endswith("echo mine\n")
    assert "@" not in script.replace('"$@"', "")
    assert len(script) < MAX_SCRIPT - 1000
    with pytest.raises(UsageError, match="characters"):
        onstart(1, "https://console.vast.ai", "x" * 2000)


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "http://x/'; rm -rf ~", "http://x\nrm", "https://x y", "http://$HOME"]
)
def test_urls_that_a_shell_would_read(url: str) -> None:
    with pytest.raises(UsageError, match="URL"):
        onstart(1, url)


@pytest.mark.parametrize("seconds", [0, -5, 1 << 40])
def test_lives_that_are_none(seconds: int) -> None:
    with pytest.raises(UsageError, match="life"):
        onstart(seconds, "https://x")
