"""Streams, leases, manifests and the supervisor itself, by the verbs that home uses."""

import base64
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from choline_tui.kernel import frames, manifest
from choline_tui.provision.install import program
from tests.remote.box import Remote
from tests.support import wait_until


def text(stream: list[frames.Frame], source: str = "run") -> bytes:
    return b"".join(f.data for f in stream if f.source == source)


def test_a_stream_from_any_offset(remote: Remote) -> None:
    go = remote.path("go")
    waits = f"while [ ! -e {go} ]; do sleep 0.01; done"
    remote.submit("r-1", f"echo one; {waits}; echo two; exit 3", setup="echo set up")
    remote.running("r-1")
    with subprocess.Popen(remote.argv("stream", "r-1"), stdout=subprocess.PIPE, env=remote.env) as follower:
        assert follower.stdout is not None
        whole = [frames.decode(follower.stdout.readline())]
        while whole[-1].source != "run":
            whole.append(frames.decode(follower.stdout.readline()))
        (remote.home / "go").touch()
        whole += [frames.decode(line) for line in follower.stdout]
    assert text(whole) == b"one\ntwo\n"
    assert text(whole, "setup") == b"set up\n"
    last = whole[-1].status
    assert last is not None and (last.state, last.exit_code, last.log_bytes) == (
        "ended",
        3,
        {"run": 8, "setup": 7},
    )
    states = [f.status.state for f in whole if f.status]
    assert states[-2:] == ["running", "ended"]
    rest = remote.stream("r-1", setup=7, run=5)
    assert [(f.source, f.offset, f.data) for f in rest if f.source] == [("run", 5, b"wo\n")]
    assert len(remote.stream("r-1", setup=7, run=8)) == 1
    assert [f.source for f in remote.stream("r-1", setup=700, run=800)] == [""]


def test_a_stream_is_prompt_and_ends_with_its_reader(remote: Remote) -> None:
    remote.submit("r-1", f"while [ ! -e {remote.path('go')} ]; do sleep 0.01; done; echo now; sleep 600")
    remote.running("r-1")
    follower = subprocess.Popen(remote.argv("stream", "r-1"), stdout=subprocess.PIPE, env=remote.env)
    assert follower.stdout is not None
    first = frames.decode(follower.stdout.readline())
    assert first.status is not None
    (remote.home / "go").touch()
    frame = frames.decode(follower.stdout.readline())
    while not frame.source:
        frame = frames.decode(follower.stdout.readline())
    assert frame.data == b"now\n"  # while the command goes on: what it prints is not kept back
    follower.stdout.close()
    assert follower.wait(10) == 0  # a reader that is gone is noticed though nothing is written


def test_a_big_log_comes_whole(remote: Remote) -> None:
    remote.submit("r-1", "head -c 1000000 /dev/urandom | tee sent; exit 0")
    stream = remote.stream("r-1")
    assert text(stream) == (remote.home / "choline/r/src/sent").read_bytes()


def test_unknown_jobs(remote: Remote) -> None:
    assert remote.call("stream", "nope")["error"]["code"] == "NotFound"
    assert remote.call("stop", "nope")["error"]["code"] == "NotFound"
    assert remote.call("stop", "../../x")["error"]["code"] == "UsageError"


def test_one_supervisor_whoever_calls(remote: Remote) -> None:
    callers = [
        subprocess.Popen(remote.argv("ensure"), stdout=subprocess.PIPE, env=remote.env) for _ in range(6)
    ]
    pids = {json.loads(c.communicate(timeout=60)[0])["pid"] for c in callers}
    assert pids == {remote.supervisor()}

    def supervisors() -> list[int]:
        lines = {p: Path(f"/proc/{p}/cmdline") for p in remote.processes()}
        return [p for p, line in lines.items() if line.exists() and b"_supervise" in line.read_bytes()]

    wait_until(lambda: supervisors() == [remote.supervisor()], within=10, what="the others' end")
    assert pids == {remote.supervisor()}


def test_another_version_takes_over_only_from_an_idle_one(remote: Remote) -> None:
    ours = program()
    other_version = "f" * 12
    remote.submit("r-1", "sleep 1.5; exit 2")
    remote.running("r-1")
    first = remote.supervisor()
    # a zipapp is its sources: another version of the same program differs in its main module only
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ours.data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(ours.version.encode(), other_version.encode()))
    remote.install(dataclasses.replace(ours, version=other_version, data=out.getvalue()))
    status = remote.call("status")
    assert (status["version"], status["pid"]) == (ours.version, first)
    assert remote.ended("r-1").exit_code == 2
    status = remote.call("ensure")
    assert status["version"] == other_version
    assert status["pid"] != first


def test_the_supervisor_ends_when_its_home_is_gone(remote: Remote) -> None:
    remote.call("ensure")
    pid = remote.supervisor()
    (remote.home / "choline").rename(remote.home / "gone")
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"), within=10, what="its end")


def test_a_stopped_supervisor_leaves_the_jobs_alone(remote: Remote) -> None:
    remote.submit("r-1", "sleep 1; exit 5")
    remote.running("r-1")
    os.kill(remote.supervisor(), signal.SIGTERM)
    assert remote.ended("r-1").exit_code == 5


def test_the_manifest_follows_no_link(remote: Remote) -> None:
    results = remote.home / "choline/r/results"
    (results / "deep er").mkdir(parents=True)
    (remote.home / "choline/r/keep").mkdir()
    nasty = os.fsencode(results) + b"/deep er/a\n'\"\xff b"
    with open(nasty, "wb") as f:
        f.write(b"abc")
    (results / "link").symlink_to("/etc/passwd")
    (results / "out").symlink_to("/etc")
    (results / manifest.PARTIAL).mkdir()
    (results / manifest.PARTIAL / "piece").write_text("x")
    os.mkfifo(results / "fifo")
    done = subprocess.run(remote.argv("manifest", "r"), capture_output=True, env=remote.env, check=True)
    entries, cut = manifest.read(done.stdout.splitlines())
    assert not cut
    assert list(entries) == [b"results/deep er/a\n'\"\xff b"]
    entry = entries[b"results/deep er/a\n'\"\xff b"]
    assert (entry.size, entry.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    only = b"\0".join([entry.path, b"results/link", b"results/out/passwd", b"../../x", b"results/none"])
    done = subprocess.run(
        remote.argv("manifest", "r", "--only"), input=only, capture_output=True, env=remote.env, check=True
    )
    assert manifest.read(done.stdout.splitlines()) == ({entry.path: entry}, False)


class Market:
    def __init__(self) -> None:
        calls: list[tuple[str, str, str]] = []
        answers = [(503, b"busy"), (200, b'{"success": false, "msg": "no"}')]
        self.calls = calls

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                calls.append((self.command, self.path, self.headers["Authorization"]))
                code, body = answers.pop(0) if answers else (200, b'{"success": true}')
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_DELETE = _take

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()


@pytest.fixture
def market(remote: Remote) -> Iterator[Market]:
    market = Market()
    guard = remote.system / "guard"
    guard.mkdir()
    (guard / "env").write_text(f"CONTAINER_ID=77\nCONTAINER_API_KEY=k=y\nVAST_URL={market.url}\n")
    (guard / "deadline").write_text("5000000000\n")
    yield market
    remote.close()
    market.server.shutdown()
    market.thread.join()
    market.server.server_close()


def test_a_lease_that_runs_out_ends_the_jobs_and_stops_the_machine(remote: Remote, market: Market) -> None:
    remote.call("prepare", "r", data={"seconds": 600, "grace_s": 600})
    remote.submit("r-1", "sleep 600", grace_s=1)
    remote.running("r-1")
    remote.call("lease", data={"seconds": 0.5, "grace_s": 600})
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("lease", 143)
    wait_until(lambda: market.calls, within=20, what="a call")
    assert market.calls[0] == ("PUT", "/api/v0/instances/77/", "Bearer k=y")
    assert "k=y" not in (remote.system / "supervisor.log").read_text()
    wait_until(lambda: len(market.calls) >= 2, within=20, what="a second try")


def test_results_that_are_home_let_it_destroy(remote: Remote, market: Market) -> None:
    status = remote.call("prepare", "r", data={"seconds": 600, "grace_s": 600})
    assert 590 < status["lease_in_s"] <= 600
    assert status["deadline_in_s"] > 1e9
    remote.submit("r-1", "true")
    remote.ended("r-1")
    assert not market.calls
    status = remote.call("lease", data={"seconds": 600, "grace_s": 0.5, "safe": True, "deadline_s": 1000})
    assert 990 < status["deadline_in_s"] <= 1000
    assert (remote.system / "guard/safe").exists()
    wait_until(lambda: market.calls, within=20, what="a call")
    assert market.calls[0][:2] == ("DELETE", "/api/v0/instances/77/")
    remote.call("lease", data={"seconds": 600, "grace_s": 600})
    assert not (remote.system / "guard/safe").exists()


def test_a_machine_started_again_waits_for_home(remote: Remote, market: Market) -> None:
    remote.call("prepare", "r", data={"seconds": 3, "grace_s": 600})
    remote.kill_supervisor()
    # the lease came 10 s ago and ran out: by its file's time, and by the boot time in it
    lease = remote.system / "lease.json"
    held = json.loads(lease.read_text())
    lease.write_text(json.dumps({**held, "boot": held["boot"] and held["boot"] - 10}))
    os.utime(lease, (time.time() - 10, time.time() - 10))
    env = remote.system / "guard/env"
    env.touch()  # the guard does so at every start
    remote.call("ensure")
    remote.submit("r-1", "sleep 2")  # time in which it would have acted
    assert remote.ended("r-1").reason == "exited"
    assert not market.calls
    os.utime(env, (time.time() - 3600, time.time() - 3600))
    wait_until(lambda: market.calls, within=20, what="a call")


def test_a_machine_on_hold_waits(remote: Remote, market: Market) -> None:
    remote.call("prepare", "r", data={"seconds": 600, "grace_s": 0, "hold": True})
    remote.submit("r-1", "true")
    remote.ended("r-1")
    remote.submit("r-2", "sleep 2")  # time in which it would have acted
    remote.ended("r-2")
    assert not market.calls


def test_ones_own_machine_only_ends_the_jobs(remote: Remote) -> None:
    remote.call("prepare", "r", data={"seconds": 1, "grace_s": 0})
    remote.submit("r-1", "sleep 600", grace_s=1)
    assert remote.ended("r-1").reason == "lease"
    log = (remote.system / "supervisor.log").read_text()
    assert "asked the market" not in log


def test_leases_that_are_none(remote: Remote) -> None:
    for lease in ({}, {"seconds": "x"}, [], {"seconds": float("nan")}):
        assert remote.call("lease", data=lease)["error"]["code"] == "UsageError"
    assert not (remote.system / "lease.json").exists()


def test_the_guard_ends_a_job_as_deadline(remote: Remote) -> None:
    """What the guard does at its deadline, by hand: a mark, then TERM to the group it finds on disk."""
    guard = remote.system / "guard"
    guard.mkdir()
    remote.submit("r-1", "sleep 600")
    remote.running("r-1")
    group = remote.system / "jobs/r-1/pgid"
    wait_until(group.exists, within=10)
    (guard / "expired").touch()
    os.killpg(int(group.read_text()), signal.SIGTERM)
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("deadline", 143)


def test_frames_hold_what_base64_makes_of_a_chunk() -> None:
    from choline_tui.remote.stream import CHUNK

    assert len(base64.b64encode(b"x" * CHUNK)) + 100 < frames.Frame.MAX_LINE
