"""Modelled remotes: the same lives as the real ones, on a virtual clock."""

import asyncio
import base64
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from choline_tui.kernel import guard
from choline_tui.kernel.clock import Clock
from choline_tui.kernel.errors import NotFound, RemoteError, SshDropped, SshRefused, TransferFailed
from choline_tui.kernel.lease import RESTARTED_S
from choline_tui.kernel.protocol import Frame, JobSpec, JobStatus, Lease
from choline_tui.kernel.session import Item, Progress, RemoteSession
from choline_tui.simulator.backend import Gpu, Launch, RemoteBackend
from choline_tui.simulator.remotes import JobModel, ModelledBackend
from choline_tui.simulator.remotes.machine_model import guard_seconds
from choline_tui.simulator.virtual import VirtualClock, VirtualLoop, run_virtual

HOUR = 3600.0
URL = "http://127.0.0.1:8070"


class World:
    """A backend and the bit of a market that its machines talk to."""

    def __init__(self, clock: VirtualClock, models: dict[str, JobModel]) -> None:
        self.clock = clock
        self.began = clock.monotonic()
        self.asked: list[tuple[int, str, float]] = []
        self.deaf = 0
        self.backend = ModelledBackend(clock, lambda spec: models.get(spec.id, JobModel()), api=self.api)

    def since(self) -> float:
        return self.clock.monotonic() - self.began

    async def api(self, contract: int, action: str) -> None:
        self.asked.append((contract, action, self.since()))
        if self.deaf:
            self.deaf -= 1
            raise OSError("the market does not answer")
        await (self.backend.stop(contract) if action == "stop" else self.backend.destroy(contract))

    async def machine(self, contract: int = 1, life: int = 0, *, billed: bool = True) -> int:
        env = {"CONTAINER_ID": str(contract), "CONTAINER_API_KEY": "k"} if billed else {}
        script = guard.onstart(life, URL) if life else "echo hello"
        gpu = Gpu("RTX 4090", 24564, "550.90.07", "12.4")
        await self.backend.create(Launch(contract, "img", env, script, 20.0, [gpu]))
        await self.backend.start(contract)
        return contract


def virtual(
    scenario: Callable[[World], Coroutine[Any, Any, None]], models: dict[str, JobModel] | None = None
) -> None:
    loop = VirtualLoop()

    async def main() -> None:
        world = World(VirtualClock(loop), models or {})
        try:
            await scenario(world)
        finally:
            await world.backend.close()

    run_virtual(main(), loop)


def test_it_is_what_the_market_and_the_engine_ask_for() -> None:
    async def scenario(w: World) -> None:
        backend: RemoteBackend = w.backend
        clock: Clock = w.clock
        await w.machine()
        session: RemoteSession = w.backend.session(1)
        found = await session.probe()
        assert (found.home, found.has_rsync, found.supervisor) == ("/root", True, "")
        assert [g.name for g in found.gpus] == ["NVIDIA GeForce RTX 4090"]
        await session.prepare("r", Lease(60))
        assert (await session.probe()).supervisor
        assert backend.log(1) == "onstart ran\n" and clock.time() > 0
        assert "dmesg" in await session.evidence()

    virtual(scenario)


def test_a_job_from_submit_to_results(tmp_path: Path) -> None:
    model = JobModel(
        duration_s=100,
        exit_code=3,
        log_lines=["one", "two", "three", "four"],
        setup_s=10,
        setup_lines=["installing"],
        result_files={"a/model.pt": b"m" * 1000, "keep/ckpt": b"c"},
    )

    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        spec = JobSpec("r-1", "r", "train", setup="pip install")
        assert (await s.submit(spec)).state == "setup"
        frames = [(f, w.since()) async for f in s.stream("r-1", {})]
        states = [f.status.state for f, _ in frames if f.status]
        assert states == ["setup", "running", "ended"]
        last = frames[-1][0].status
        assert last is not None and (last.exit_code, last.reason, last.setup_exit) == (3, "exited", 0)
        assert last.ended is not None and last.started is not None
        assert last.ended - last.started == pytest.approx(110)
        assert text(frames, "run") == b"one\ntwo\nthree\nfour\n" and text(frames, "setup") == b"installing\n"
        arrival = {f.data: round(at) for f, at in frames if f.data}
        assert arrival[b"three\n"] - arrival[b"one\n"] == 50
        # again from an offset
        rest = [f async for f in s.stream("r-1", {"run": 4, "setup": 99})]
        assert b"".join(f.data for f in rest) == b"two\nthree\nfour\n" and rest[-1].status
        seen: list[Progress] = []
        done = await s.fetch("r", str(tmp_path / "home"), final=True, on_progress=seen.append)
        assert (done.files, done.bytes) == (2, 1001) and seen[-1].bytes_done == 1001
        assert (tmp_path / "home/results/a/model.pt").read_bytes() == b"m" * 1000
        assert (tmp_path / "home/keep/ckpt").read_bytes() == b"c"
        assert (await s.fetch("r", str(tmp_path / "home"), final=True)).files == 0
        with pytest.raises(TransferFailed):
            await s.fetch("r", str(tmp_path / "x"), final=True, max_bytes=1000)
        # a job id it has seen is never started again
        assert (await s.submit(spec)).state == "ended"
        assert [(e.contract, e.job) for e in w.backend.executions] == [(1, "r-1")]

    virtual(scenario, {"r-1": model})


def text(frames: list[tuple[Frame, float]], source: str) -> bytes:
    return b"".join(f.data for f, _ in frames if f.source == source)


def test_results_come_one_by_one(tmp_path: Path) -> None:
    model = JobModel(duration_s=100, result_files={str(i): b"x" for i in range(5)}, result_every_s=15)

    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))
        await w.clock.sleep(31)
        assert (await s.fetch("r", str(tmp_path), final=False)).files == 2
        await w.clock.sleep(200)
        assert (await s.fetch("r", str(tmp_path), final=True)).files == 3

    virtual(scenario, {"r-1": model})


@pytest.mark.parametrize(
    ("model", "spec", "reason", "code", "after"),
    [
        (JobModel(1000), {"time_limit_s": 60.0}, "time_limit", 143, 60),
        (JobModel(1000, ignores_term=True), {"time_limit_s": 60.0, "grace_s": 9.0}, "time_limit", 137, 69),
        (JobModel(64, ignores_term=True), {"time_limit_s": 60.0}, "time_limit", 0, 64),
        (JobModel(1000, setup_s=5, setup_exit=2), {"setup": "x"}, "setup_failed", None, 5),
        (
            JobModel(1000, result_files={"a": b"xx", "b": b"xx"}, result_every_s=10),
            {"results_max_bytes": 3},
            "results_full",
            143,
            20,
        ),
    ],
)
def test_how_a_job_ends(
    model: JobModel, spec: dict[str, Any], reason: str, code: int | None, after: float
) -> None:
    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x", **spec))
        status = await ended(s, "r-1")
        assert (status.reason, status.exit_code) == (reason, code)
        assert status.ended is not None and status.ended - status.queued == pytest.approx(after)

    virtual(scenario, {"r-1": model})


async def ended(session: RemoteSession, job: str) -> JobStatus:
    *_, last = [f async for f in session.stream(job, {})]
    assert last.status is not None and last.status.state == "ended"
    return last.status


@pytest.mark.parametrize(("ignores", "code", "after"), [(False, 143, 0), (True, 137, 20)])
def test_stop_on_request(ignores: bool, code: int, after: float) -> None:
    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))
        await w.clock.sleep(100)
        began = w.since()
        assert (await s.stop("r-1", 20, "stopped")).state == ("stopping" if ignores else "ended")
        status = await ended(s, "r-1")
        assert (status.reason, status.exit_code) == ("stopped", code)
        assert w.since() - began == pytest.approx(after, abs=1)

    virtual(scenario, {"r-1": JobModel(1000, ignores_term=ignores)})


# -- rules 4 and 5: what a machine does by itself


@pytest.mark.parametrize(("safe", "action"), [(True, "destroy"), (False, "stop")])
def test_lease_runs_out_under_a_running_job(safe: bool, action: str) -> None:
    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR, safe=safe))
        await s.submit(JobSpec("r-1", "r", "x", grace_s=30))
        machine = w.backend.machine(1)
        await w.clock.sleep(2 * HOUR)
        assert [(a, round(at)) for _, a, at in w.asked] == [(action, HOUR + 30)]
        assert machine.jobs["r-1"].stop_reason == "lease" and not machine.running
        with pytest.raises(SshDropped):
            await s.status()

    virtual(scenario, {"r-1": JobModel(100 * HOUR, ignores_term=True)})


def test_renewing_keeps_it_alive() -> None:
    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))
        for _ in range(100):
            await w.clock.sleep(HOUR * 0.9)
            await s.renew(Lease(HOUR))
        assert w.asked == [] and (await s.status()).jobs["r-1"].state == "running"

    virtual(scenario, {"r-1": JobModel(1000 * HOUR)})


@pytest.mark.parametrize(
    ("lease", "expected"),
    [
        (Lease(10 * HOUR, grace_s=600), [("stop", 660)]),
        (Lease(10 * HOUR, grace_s=600, safe=True), [("destroy", 660)]),
        (Lease(10 * HOUR, grace_s=600, hold=True), [("stop", 10 * HOUR)]),
    ],
)
def test_home_stays_silent_after_the_run(lease: Lease, expected: list[tuple[str, float]]) -> None:
    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", lease)
        await s.submit(JobSpec("r-1", "r", "x"))
        await w.clock.sleep(20 * HOUR)
        assert [(a, round(at, -1)) for _, a, at in w.asked] == expected

    virtual(scenario, {"r-1": JobModel(60)})


def test_an_own_machine_only_ends_its_jobs() -> None:
    async def scenario(w: World) -> None:
        await w.machine(billed=False)
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))
        await w.clock.sleep(5 * HOUR)
        assert w.asked == [] and (await s.status()).jobs["r-1"].reason == "lease"

    virtual(scenario, {"r-1": JobModel(100 * HOUR)})


def test_the_guard_acts_though_nobody_ever_came() -> None:
    async def scenario(w: World) -> None:
        await w.machine(life=24 * 3600)
        w.deaf = 3
        await w.clock.sleep(48 * HOUR)
        assert [(a, round(at)) for _, a, at in w.asked] == [("stop", 86400 + 30 * i) for i in range(4)]
        # started again after its deadline it gets half an hour
        await w.backend.start(1)
        await w.clock.sleep(HOUR)
        assert len(w.asked) == 5 and w.asked[-1][2] == pytest.approx(48 * HOUR + guard.RENEWED_S, abs=1)

    virtual(scenario)


def test_the_guard_ends_jobs_first_and_home_moves_its_deadline() -> None:
    async def scenario(w: World) -> None:
        await w.machine(life=3600)
        s = w.backend.session(1)
        status = await s.prepare("r", Lease(100 * HOUR, safe=True, deadline_s=2 * HOUR))
        assert status.deadline_in_s == pytest.approx(2 * HOUR)
        await s.submit(JobSpec("r-1", "r", "x"))
        machine = w.backend.machine(1)
        await w.clock.sleep(3 * HOUR)
        assert [(a, round(at)) for _, a, at in w.asked] == [("destroy", 7200 + 60)]
        assert machine.jobs["r-1"].stop_reason == "deadline"
        with pytest.raises(SshRefused):
            w.backend.session(1)

    virtual(scenario, {"r-1": JobModel(100 * HOUR)})


def test_the_guards_line_is_read() -> None:
    assert guard_seconds(guard.onstart(777, URL)) == (777, 0)
    assert guard_seconds(guard.onstart(777, URL, deadline=1_800_000_000)) == (777, 1_800_000_000)
    assert guard_seconds("# choline-guard: seconds=5 url=http://x") == (5, 0)
    assert guard_seconds("echo hello") is None


def test_a_clock_that_jumps_at_home_moves_nothing_on_the_machine() -> None:
    async def scenario(w: World) -> None:
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))
        w.clock.jump(10 * HOUR)
        await w.clock.sleep(60)
        assert w.asked == [] and (await s.status()).jobs["r-1"].state == "running"

    virtual(scenario, {"r-1": JobModel(HOUR)})


# -- connections and restarts


def test_connections() -> None:
    async def scenario(w: World) -> None:
        with pytest.raises(SshRefused):
            w.backend.session(1)
        await w.machine()
        s = w.backend.session(1)
        key = s.host_key
        assert base64.b64decode(key.split()[1])[4:15] == b"ssh-ed25519"
        await w.backend.drop_ssh(1)
        with pytest.raises(SshDropped):
            await s.status()
        s = w.backend.session_at(w.backend.machine(1).port)
        await w.backend.refuse_ssh(1, True)
        with pytest.raises(SshRefused):
            w.backend.session(1)
        await w.backend.refuse_ssh(1, False)
        await w.backend.stop(1)
        with pytest.raises(SshRefused):
            w.backend.session(1)
        await w.backend.start(1)
        s = w.backend.session(1)
        assert s.host_key == key
        with pytest.raises(RemoteError):
            await s.submit(JobSpec("r-1", "r", "x"))
        with pytest.raises(RemoteError):
            await s.stop("none", 1, "x")
        await s.close()
        with pytest.raises(SshDropped):
            await s.status()
        with pytest.raises(NotFound):
            await w.backend.start(2)

    virtual(scenario)


def test_a_stream_and_a_transfer_notice_a_lost_connection(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 1_000_000)

    async def scenario(w: World) -> None:
        w.backend._speed = 1e4
        await w.machine()
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))

        async def cut(after: float) -> None:
            await w.clock.sleep(after)
            await w.backend.drop_ssh(1)

        async with asyncio.TaskGroup() as group:
            group.create_task(cut(10))
            with pytest.raises(SshDropped):
                async for _ in s.stream("r-1", {}):
                    pass
        assert w.since() == pytest.approx(10, abs=1)
        s = w.backend.session(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(cut(30))
            with pytest.raises(SshDropped):
                await s.send("r", [Item(str(tmp_path), "data")])
        assert w.backend.machine(1).sent == []
        s = w.backend.session(1)
        sent = await s.send("r", [Item(str(tmp_path), "data")])
        assert (sent.bytes, sent.files, round(sent.seconds)) == (1_000_000, 1, 100)
        assert (await s.send("r", [Item(str(tmp_path), "data")])).bytes == 0
        assert w.backend.machine(1).sent[0].names == (b"data",)

    virtual(scenario, {"r-1": JobModel(HOUR)})


def test_a_restart_loses_the_job_and_keeps_the_disk(tmp_path: Path) -> None:
    model = JobModel(
        HOUR, result_files={"early": b"1", "late": b"2"}, result_every_s=60, log_lines=["x"] * 60
    )

    async def scenario(w: World) -> None:
        await w.machine(life=24 * 3600)
        s = w.backend.session(1)
        await s.prepare("r", Lease(2 * HOUR))
        await s.submit(JobSpec("r-1", "r", "x"))
        await w.clock.sleep(90)
        await w.backend.stop(1)
        await w.clock.sleep(60)
        await w.backend.start(1)
        s = w.backend.session(1)
        status = (await s.status()).jobs["r-1"]
        assert (status.state, status.reason, status.exit_code) == ("ended", "lost", None)
        assert (await s.submit(JobSpec("r-1", "r", "x"))).reason == "lost"
        await s.fetch("r", str(tmp_path), final=True)
        assert [p.name for p in (tmp_path / "results").iterdir()] == ["early"]
        assert len(w.backend.executions) == 1

    virtual(scenario, {"r-1": model})


def test_a_machine_started_again_waits_for_home_before_it_obeys_an_old_lease() -> None:
    async def scenario(w: World) -> None:
        await w.machine(life=100 * 3600)
        s = w.backend.session(1)
        await s.prepare("r", Lease(HOUR))
        await w.clock.sleep(12 * HOUR)
        assert [a for _, a, _ in w.asked] == ["stop"]
        await w.backend.start(1)
        began = w.since()
        await w.clock.sleep(HOUR)
        assert [a for _, a, _ in w.asked] == ["stop", "stop"]
        assert w.asked[1][2] - began == pytest.approx(RESTARTED_S, abs=1)

    virtual(scenario)


def test_thousands_of_hours_take_no_time() -> None:
    async def scenario(w: World) -> None:
        for contract in range(200):
            await w.machine(contract, life=48 * 3600)
            s = w.backend.session(contract)
            await s.prepare("r", Lease(24 * HOUR, grace_s=HOUR))
            await s.submit(JobSpec(f"r-{contract}", "r", "x"))
        await w.clock.sleep(100 * HOUR)
        assert {contract for contract, _, _ in w.asked} == set(range(200))
        assert len(w.asked) == 200 and len(w.backend.executions) == 200

    virtual(scenario, {"r-7": JobModel(200 * HOUR)})


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ""])
def test_a_model_cannot_write_outside(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        JobModel(result_files={name: b""})
