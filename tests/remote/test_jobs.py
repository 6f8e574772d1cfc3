"""Jobs under a real supervisor: real processes in a home of their own."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from choline_tui.kernel.protocol import JobStatus
from choline_tui.provision.install import program
from tests.remote.box import Remote
from tests.support import wait_until


def test_a_job_from_submit_to_its_exit_code(remote: Remote) -> None:
    given = remote.submit(
        "r-1",
        'echo out; echo err >&2; pwd; echo "$CHOLINE_RESULTS $MINE $CHOLINE_NUM_GPUS"; exit 7',
        setup="echo set up",
        env={"MINE": "a b\nc"},
        gpus=2,
    )
    assert given.id == "r-1"
    status = remote.ended("r-1")
    assert (status.state, status.reason, status.exit_code, status.setup_exit) == ("ended", "exited", 7, 0)
    run = remote.home / "choline/r"
    assert remote.log("r-1").decode() == f"out\nerr\n{run}/src\n{run}/results a b\nc 2\n"
    assert remote.log("r-1", "setup") == b"set up\n"
    assert status.started is not None and status.ended is not None and status.started <= status.ended


def test_exit_codes(remote: Remote) -> None:
    codes = {"true": 0, "exit 255": 255, "kill -9 $$": 137, "kill -SEGV $$": 139, "no-such-command": 127}
    for n, command in enumerate(codes):
        remote.submit(f"r-{n}", command)
    for n, code in enumerate(codes.values()):
        status = remote.ended(f"r-{n}")
        assert (status.reason, status.exit_code) == ("exited", code)


def test_a_setup_that_fails(remote: Remote) -> None:
    remote.submit("r-1", f"touch {remote.path('ran')}", setup="echo no; exit 3")
    status = remote.ended("r-1")
    assert (status.reason, status.setup_exit, status.exit_code) == ("setup_failed", 3, None)
    assert not (remote.home / "ran").exists()


def test_a_service_of_the_setup_lives_as_long_as_the_job(remote: Remote) -> None:
    remote.submit(
        "r-1",
        f"kill -0 $(cat {remote.path('pid')}) && echo it is there; sleep 0.5",
        setup=f"(while :; do sleep 0.1; echo beat; done) & echo $! > {remote.path('pid')}",
    )
    assert remote.ended("r-1").exit_code == 0
    assert remote.log("r-1") == b"it is there\n"
    assert b"beat" in remote.log("r-1", "setup")
    pid = int((remote.home / "pid").read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of what the setup started")


def test_a_job_id_is_taken_once(remote: Remote) -> None:
    spec = "echo once >> " + remote.path("count")
    remote.submit("r-1", spec)
    remote.ended("r-1")
    again = remote.submit("r-1", spec)
    assert (again.state, again.exit_code) == ("ended", 0)
    # a spool file that appears again (a copy, a restored disk) starts nothing either
    source = remote.system / "jobs/r-1/spec.json"
    (remote.system / "spool/r-1.json").write_bytes(source.read_bytes())
    wait_until(lambda: not (remote.system / "spool/r-1.json").exists(), within=10)
    remote.submit("r-2", "true")
    remote.ended("r-2")
    assert (remote.home / "count").read_text() == "once\n"


def test_the_supervisor_is_killed_and_nothing_is_lost(remote: Remote) -> None:
    wait = f"until [ -e {remote.path('go')} ]; do sleep 0.05; done"
    remote.submit("r-1", f"echo begun >> {remote.path('starts')}; {wait}; echo done; exit 9")
    remote.running("r-1")
    first = remote.supervisor()
    remote.kill_supervisor()
    remote.submit("r-2", "echo two")  # starts another one
    assert remote.supervisor() != first
    assert remote.ended("r-2").exit_code == 0
    assert remote.status("r-1").state == "running"
    (remote.home / "go").touch()
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("exited", 9)
    assert remote.log("r-1") == b"done\n"
    assert (remote.home / "starts").read_text() == "begun\n"


def test_the_job_ends_while_no_supervisor_is_there(remote: Remote) -> None:
    remote.submit("r-1", "sleep 0.5; exit 4")
    remote.running("r-1")
    remote.kill_supervisor()
    assert remote.ended("r-1").exit_code == 4
    assert JobStatus.from_wire(remote.call("ensure")["jobs"]["r-1"]).exit_code == 4


def test_killed_at_any_moment_a_job_starts_once(remote: Remote) -> None:
    """kill -9 of the supervisor at moments spread over taking and starting a job."""
    for n in range(8):
        job = f"r-{n}"
        remote.submit(job, f"echo {job} >> {remote.path('starts')}; exit {n}")
        time.sleep(n * 0.025)
        remote.kill_supervisor()
    remote.call("ensure")
    for n in range(8):
        assert remote.ended(f"r-{n}").exit_code == n
    assert sorted((remote.home / "starts").read_text().split()) == [f"r-{n}" for n in range(8)]


def test_a_job_whose_keeper_was_killed_is_lost_and_its_processes_end(remote: Remote) -> None:
    remote.submit("r-1", "sleep 600")
    remote.running("r-1")
    wait_until((remote.system / "jobs/r-1/pgid").exists, within=10)
    group = int((remote.system / "jobs/r-1/pgid").read_text())
    shim = int((remote.system / "jobs/r-1/claim").read_text())
    os.kill(shim, signal.SIGKILL)
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("lost", None)
    wait_until(lambda: not Path(f"/proc/{group}/exe").exists(), within=10, what="the command's end")


def test_after_a_restart_of_the_machine_running_jobs_are_lost_and_waiting_ones_run(remote: Remote) -> None:
    remote.submit("r-1", f"echo one >> {remote.path('starts')}; sleep 600")
    wait_until(lambda: (remote.home / "starts").exists(), what="the command's first words")
    remote.close()  # everything on the machine ends at once
    (remote.system / "spool/r-2.json").write_text('{"id": "r-2", "run": "r", "command": "exit 5"}')
    remote.call("ensure")
    assert remote.ended("r-1").reason == "lost"
    assert remote.ended("r-2").exit_code == 5
    assert (remote.home / "starts").read_text() == "one\n"


def test_stop_gives_a_grace(remote: Remote) -> None:
    remote.submit(
        "r-1", "trap 'echo saving; sleep 0.3; echo saved; exit 5' TERM; while :; do sleep 0.05; done"
    )
    remote.running("r-1")
    remote.call("stop", "r-1", "--grace", "10", "--reason", "stopped")
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("stopped", 5)
    assert remote.log("r-1").endswith(b"saving\nsaved\n")


def test_what_ignores_term_is_killed_with_all_it_started(remote: Remote) -> None:
    script = (
        "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & "
        # one that leaves the group and the session
        'setsid sh -c \'trap "" TERM; echo $$ > "$OUT"; while :; do sleep 0.1; done\' & '
        "while :; do sleep 0.1; done"
    )
    remote.submit("r-1", script, env={"OUT": str(remote.home / "pid")})
    wait_until((remote.home / "pid").exists, within=10)
    wait_until((remote.home / "pid").read_text, within=10)
    begun = time.monotonic()
    remote.call("stop", "r-1", "--grace", "0.5")
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("stopped", 137)
    assert time.monotonic() - begun >= 0.5
    assert not Path(f"/proc/{(remote.home / 'pid').read_text().strip()}/exe").exists()


def test_a_second_stop_may_shorten_the_grace(remote: Remote) -> None:
    remote.submit("r-1", "trap '' TERM; while :; do sleep 0.05; done")
    remote.running("r-1")
    remote.call("stop", "r-1", "--grace", "600")
    wait_until(lambda: remote.status("r-1").state == "stopping", within=10)
    remote.call("stop", "r-1", "--grace", "0")
    assert remote.ended("r-1").exit_code == 137


def test_what_a_command_leaves_behind_ends_with_it(remote: Remote) -> None:
    remote.submit("r-1", f"sleep 600 & echo $! > {remote.path('pid')}; exit 3")
    assert remote.ended("r-1").exit_code == 3
    assert not Path(f"/proc/{(remote.home / 'pid').read_text().strip()}/exe").exists()


def test_a_time_limit(remote: Remote) -> None:
    remote.submit("r-1", "sleep 600", time_limit_s=0.5, grace_s=1)
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("time_limit", 143)


def test_a_log_has_a_cap_and_the_job_goes_on(remote: Remote) -> None:
    remote.submit("r-1", "yes | head -c 3000000; exit 6", log_max_bytes=100_000)
    status = remote.ended("r-1")
    assert status.exit_code == 6
    assert len(remote.log("r-1")) == 100_000
    assert status.log_dropped == 2_900_000


def test_results_have_a_limit(remote: Remote) -> None:
    remote.submit(
        "r-1", 'head -c 300000 /dev/zero > "$CHOLINE_RESULTS/big"; sleep 600', results_max_bytes=200_000
    )
    status = remote.ended("r-1")
    assert (status.reason, status.results_bytes) == ("results_full", 300_000)


def test_many_jobs_at_once(remote: Remote) -> None:
    for n in range(20):
        (remote.system / "spool").mkdir(exist_ok=True)
        spec = json.dumps({"id": f"r-{n}", "run": "r", "command": f"echo {n}; sleep 0.2; exit {n}"})
        (remote.system / f"spool/.{n}").write_text(spec)
        (remote.system / f"spool/.{n}").rename(remote.system / f"spool/r-{n}.json")
    remote.call("ensure")
    for n in range(20):
        assert remote.ended(f"r-{n}", within=60).exit_code == n
        assert remote.log(f"r-{n}") == b"%d\n" % n


def test_a_command_longer_than_an_argument_may_be(remote: Remote) -> None:
    remote.submit("r-1", "true " + "x" * 300_000 + "\necho long")
    assert remote.ended("r-1").exit_code == 0
    assert remote.log("r-1") == b"long\n"


def test_a_command_that_cannot_be_started(remote: Remote) -> None:
    remote.submit("r-1", "true", env={"BIG": "x" * 3_000_000})
    status = remote.ended("r-1")
    assert status.exit_code == 126
    assert "could not be started" in status.message


def test_jobs_that_are_none(remote: Remote) -> None:
    for spec in (
        {"id": "../x", "run": "r", "command": "true"},
        {"id": "x", "run": "r/..", "command": "true"},
        {"id": "x", "run": "r", "command": 5},
        {"id": "x", "run": "r", "command": "true", "env": {"A=B": "1"}},
        {"id": "x", "run": "r", "command": "a\0b"},
        [1],
    ):
        assert remote.call("submit", data=spec)["error"]["code"] == "UsageError"
    assert not list(remote.home.rglob("x*"))


def test_a_spool_file_that_is_no_job_is_told(remote: Remote) -> None:
    (remote.system / "spool").mkdir()
    (remote.system / "spool/bad.json").write_text("{")
    remote.call("ensure")
    status = remote.ended("bad")
    assert status.reason == "lost"


def test_signals_are_not_ignored_by_a_job(remote: Remote) -> None:
    remote.submit("r-1", "grep SigIgn /proc/self/status")
    remote.ended("r-1")
    assert int(remote.log("r-1").split()[1], 16) == 0


def test_the_containers_variables_but_not_its_key(remote: Remote) -> None:
    guard = remote.system / "guard"
    guard.mkdir()
    (guard / "environ").write_bytes(b"HF_HOME=/data\0CONTAINER_API_KEY=secret\0HOME=/other\0MULTI=a\nb\0")
    remote.submit("r-1", 'echo "$HF_HOME $MULTI $HOME [$CONTAINER_API_KEY]"')
    remote.ended("r-1")
    assert remote.log("r-1").decode() == f"/data a\nb {remote.home} []\n"


def test_a_full_disk_does_not_lose_the_end(remote: Remote) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    target = str(remote.system)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", target], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no mounting here")
    try:
        remote.install(program())
        remote.submit(
            "r-1", f"head -c 900000 /dev/zero > {remote.path('choline/.system/fill')}; df .; exit 8"
        )
        status = remote.ended("r-1")
        assert (status.reason, status.exit_code) == ("exited", 8)
        assert remote.home.joinpath("choline/.system/fill").stat().st_size < 900_000
    finally:
        remote.close()
        subprocess.run(["umount", target], check=True)
