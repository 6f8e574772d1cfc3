"""A job that nobody runs: how it stands at a moment is worked out from when it began and what it does.

Nothing here waits or knows a clock; times are seconds on the modelled machine's own clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from choline_tui.kernel.protocol import ENDED, RUNNING, SETUP, STOPPING, JobSpec, JobStatus

__all__ = ["JobModel", "ModelledJob"]

SETTLED_S = 10.0
"""s after which a modelled supervisor tells of a result file"""
TERM, KILL = 143, 137
"""what a shell gives for a command that these signals ended"""


@dataclass(frozen=True)
class JobModel:
    """What a modelled job does.

    ``log_lines`` come evenly over ``duration_s``. ``result_files``: content by path below results/, or
    below keep/ when it begins with ``keep/``; they appear at the end, or one every ``result_every_s``.
    """

    duration_s: float = 60.0
    exit_code: int = 0
    log_lines: Sequence[str] = ()
    result_files: Mapping[str, bytes] = field(default_factory=dict)
    result_every_s: float = 0.0
    setup_s: float = 0.0
    setup_exit: int = 0
    setup_lines: Sequence[str] = ()
    ignores_term: bool = False
    """takes the whole grace time when it is stopped"""

    def __post_init__(self) -> None:
        for name in self.result_files:
            if name.startswith("/") or ".." in name.split("/") or not name.strip("/"):
                raise ValueError(f"a modelled result cannot be at {name!r}")


@dataclass
class ModelledJob:
    spec: JobSpec
    model: JobModel
    began: float
    stop_at: float | None = None
    stop_grace: float = 0.0
    stop_reason: str = ""
    lost_at: float | None = None
    """when the machine went away under it"""
    mended_at: float | None = None
    """when the supervisor of a later start found it lost"""

    # -- when things happen

    @property
    def _command_at(self) -> float:
        return self.began + self.model.setup_s

    def _natural(self) -> tuple[float, str, int]:
        """(end, reason, exit code) if nobody stops it."""
        model, spec = self.model, self.spec
        if model.setup_exit:
            return self._command_at, "setup_failed", model.setup_exit
        end, reason, code = self._command_at + model.duration_s, "exited", model.exit_code
        for cut, why in ((self._limit_at(), "time_limit"), (self._full_at(), "results_full")):
            if cut is not None and cut < end:
                end, code = self._after_term(cut, spec.grace_s, end, code)
                reason = why
        return end, reason, code

    def _after_term(self, at: float, grace: float, natural: float, code: int) -> tuple[float, int]:
        if not self.model.ignores_term:
            return at, TERM
        return (at + grace, KILL) if at + grace < natural else (natural, code)

    def _limit_at(self) -> float | None:
        return self._command_at + self.spec.time_limit_s if self.spec.time_limit_s > 0 else None

    def _full_at(self) -> float | None:
        if self.spec.results_max_bytes <= 0:
            return None
        total = 0
        for at, _, content in self._results():
            total += len(content)
            if total > self.spec.results_max_bytes:
                return at
        return None

    def _end(self) -> tuple[float, str, int]:
        end, reason, code = self._natural()
        if self.stop_at is not None and self.stop_at < end:
            end, code = self._after_term(self.stop_at, self.stop_grace, end, code)
            reason = self.stop_reason
        return end, reason, code

    # -- what happens to it

    def stop(self, now: float, grace_s: float, reason: str) -> None:
        """TERM at ``now``, KILL after ``grace_s``; of several requests the soonest end counts."""
        if self.ended_by(now):
            return
        if self.stop_at is None or now + grace_s < self.stop_at + self.stop_grace:
            self.stop_at, self.stop_grace, self.stop_reason = (
                now,
                max(0.0, grace_s),
                self.stop_reason or reason,
            )

    def lose(self, now: float) -> None:
        if not self.ended_by(now) and self.lost_at is None:
            self.lost_at = now

    # -- how it stands

    def ended_by(self, now: float) -> bool:
        if self.lost_at is not None:
            return self.mended_at is not None
        return self._end()[0] <= now

    def next_change(self, now: float) -> float | None:
        """The next moment after ``now`` at which status, log or results change by themselves."""
        if self.lost_at is not None:
            return None
        moments = [self._command_at, self._end()[0], *(at for _, at, _ in self._lines())]
        moments += [moment for at, _, _ in self._results() for moment in (at, at + SETTLED_S)]
        return min((m for m in moments if m > now), default=None)

    def end_time(self) -> float | None:
        """When it ended or will end, as far as is known now."""
        return self.mended_at if self.lost_at is not None else self._end()[0]

    def status(self, now: float, epoch: float) -> JobStatus:
        """``epoch``: what the machine's wall clock showed at its time 0."""
        status = JobStatus(id=self.spec.id, queued=epoch + self.began, started=epoch + self.began)
        status.log_bytes = {s: len(self.log(s, now)) for s in ("setup", "run") if self.log(s, now)}
        status.log_dropped = max(0, len(self._whole_log("run", now)) - self.spec.log_max_bytes)
        status.results_bytes = sum(len(content) for content in self.results(now).values())
        status.fresh = len(self.results(now - SETTLED_S))
        if self._command_at <= now and self.spec.setup:
            status.setup_exit = self.model.setup_exit
        if self.lost_at is not None and self.mended_at is not None:
            status.state, status.reason, status.ended = ENDED, "lost", epoch + self.mended_at
            status.message = "the machine restarted under it"
        elif self.ended_by(now):
            end, reason, code = self._end()
            status.state, status.reason, status.ended = ENDED, reason, epoch + end
            status.exit_code = None if reason == "setup_failed" else code
        elif self.stop_at is not None and self.stop_at <= now:
            status.state = STOPPING
        else:
            status.state = SETUP if now < self._command_at else RUNNING
        return status

    def _until(self, now: float) -> float:
        if self.lost_at is not None:
            return min(now, self.lost_at)
        return min(now, self._end()[0])

    def _lines(self) -> Iterator[tuple[str, float, str]]:
        for source, lines, start, span in (
            ("setup", self.model.setup_lines, self.began, self.model.setup_s),
            ("run", self.model.log_lines, self._command_at, self.model.duration_s),
        ):
            for i, line in enumerate(lines):
                yield source, start + span * i / len(lines), line
            if source == "setup" and self.model.setup_exit:
                return

    def _whole_log(self, source: str, now: float) -> bytes:
        until = self._until(now)
        return "".join(line + "\n" for s, at, line in self._lines() if s == source and at <= until).encode()

    def log(self, source: str, now: float) -> bytes:
        """What is in a log at ``now``."""
        return self._whole_log(source, now)[: self.spec.log_max_bytes]

    def _results(self) -> Iterator[tuple[float, str, bytes]]:
        if self.model.setup_exit:
            return
        for i, (name, content) in enumerate(self.model.result_files.items()):
            path = name if name.startswith(("keep/", "results/")) else f"results/{name}"
            every = self.model.result_every_s
            at = self.model.duration_s if every <= 0 else min(every * (i + 1), self.model.duration_s)
            yield self._command_at + at, path, content

    def results(self, now: float) -> dict[str, bytes]:
        """Files of this job that are on the machine's disk at ``now``."""
        until = self._until(now)
        return {path: content for at, path, content in self._results() if at <= until}
