"""A second home of the results, as the machine tells of it and home shows it."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from choline_tui.engine import second
from choline_tui.kernel.protocol import Frame, JobSpec, JobStatus
from choline_tui.kernel.web import WebTrouble
from choline_tui.model.run import Outcome, Run, SecondHome
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from tests.support.world import World, live

BUCKET = SecondHome(url="s3://bucket/runs", region="eu-central-1")


class Writing:
    """A machine that says of its bucket what it is told to, once for each of its statuses."""

    def __init__(self, session: ModelledSession, says: list[dict[str, Any]], specs: list[JobSpec]) -> None:
        self._session = session
        self._says = says
        self._specs = specs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def submit(self, spec: JobSpec) -> Any:
        self._specs.append(spec)
        return await self._session.submit(spec)

    async def stream(self, job: str, offsets: dict[str, int]) -> AsyncIterator[Frame]:
        async for frame in self._session.stream(job, offsets):
            if frame.status is not None and frame.status.state == "running":
                for each in self._says[:-1]:
                    yield Frame(status=dataclasses.replace(frame.status, **each))
            if frame.status is not None and frame.status.state == "ended":
                frame = Frame(status=dataclasses.replace(frame.status, **self._says[-1]))
            yield frame


def told(tmp_path: Path, says: list[dict[str, Any]], **plan: Any) -> tuple[list[str], str, list[JobSpec]]:
    """What the timeline says of the bucket, what the run does, and the jobs that were handed over."""
    found: list[Any] = [[], "", []]

    async def story(world: World) -> None:
        assert world.store is not None
        world.model = JobModel(duration_s=60.0, result_files={"a": b"1"})
        world.wrap_session = lambda contract, session: Writing(session, says, found[2])  # type: ignore
        run = world.start(**plan)
        await world.ended(run)
        found[0] = [e.text.replace(run, "RUN") for e in world.store.events(run=run) if "s3://" in e.text]
        found[1] = world.run(run).also.replace(run, "RUN")
        await world.quiet()

    live(tmp_path, story)
    return found[0], found[1], found[2]


def test_the_timeline_says_that_results_are_there_too(tmp_path: Path) -> None:
    whole = {"also": "whole", "also_files": 3, "also_bytes": 4711}
    says = [{"also": "behind"}, {"also": "ending"}, whole, whole]
    events, also, specs = told(tmp_path, says, results_also=BUCKET, results_exclude=["*.tmp"])
    assert also.startswith("results are in s3://bucket/runs/RUN too: 3 files, 4,711 bytes")
    assert events == [
        "the command is over; its results are still being written to s3://bucket/runs/RUN",
        also,
    ]
    assert specs[0].also is not None and specs[0].also.to_wire() == BUCKET.model_dump()
    assert specs[0].results_exclude == ["*.tmp"]


def test_what_is_not_whole_there_is_said_with_the_reason(tmp_path: Path) -> None:
    says = [{"also": "failed", "also_words": f"HTTP 403 {n}"} for n in range(300)]
    events, also, _ = told(tmp_path, says, results_also=BUCKET)
    assert also == "results are not whole in s3://bucket/runs/RUN: HTTP 403 299"
    assert 2 <= len(events) < 6 and events[-1] == also


def test_a_machine_that_was_not_asked_to_is_not_heard(tmp_path: Path) -> None:
    assert told(tmp_path, [{"also": "whole"}, {"also": "whole"}])[:2] == ([], "")


def vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[JobStatus | Exception | None]
) -> tuple[Run, int, list[float]]:
    """A run whose machine is gone while its job runs: how it ends, how often was rented, when was asked."""
    asked: list[float] = []
    found: list[Any] = []

    async def story(world: World) -> None:
        def end_of(url: str, endpoint: str, region: str, run: str, job: str, keys: Any) -> JobStatus | None:
            asked.append(world.clock.monotonic())
            answer = answers[min(len(asked), len(answers)) - 1]
            if isinstance(answer, Exception):
                raise answer
            return None if answer is None else dataclasses.replace(answer, id=job)

        monkeypatch.setattr(second, "end_of", end_of)
        world.model = JobModel(duration_s=5000.0, result_files={"a": b"1"})
        run = world.start(results_also=BUCKET)
        await world.until(lambda: world.run(run).state == "running")
        await world.reach(world.clock.monotonic() + 600)
        world.sim.contracts.destroy(world.sim.contracts.alive()[0])
        found.append(await world.ended(run))
        found.append(len(world.sim.contracts.history))
        await world.quiet()

    live(tmp_path, story)
    return found[0], found[1], asked


ENDED_THERE = JobStatus("x", "ended", "exited", 0, also="whole", also_files=2, also_bytes=10)


def test_a_machine_that_ended_itself_with_all_in_the_bucket_is_a_run_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket does not answer at first: a machine is not given up, and no other rented, before it has."""
    answers = [WebTrouble("no answer"), WebTrouble("no answer"), ENDED_THERE]
    run, rented, asked = vanishes(tmp_path, monkeypatch, answers)
    assert (run.outcome, run.exit_code, rented, len(asked)) == (Outcome.SUCCEEDED, 0, 1, 3)
    assert not run.results_complete and "results are in s3://bucket/runs" in run.also


def test_a_bucket_that_never_answers_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rented, asked = vanishes(tmp_path, monkeypatch, [WebTrouble("no answer")])
    assert (run.outcome, rented) == (Outcome.SUCCEEDED, 2) and 10 < len(asked) < 40
