"""Runs, attempts, rentals and events: what the store holds and the decision function reads.

Money is $ and $/h, times are epoch seconds (UTC), durations seconds, disk GB.
All models are frozen; a change is ``thing.but(state=...)``.
"""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from choline_tui.model.code import CodeState
from choline_tui.model.environment import Environment
from choline_tui.model.market_types import RentalType

__all__ = [
    "Attempt",
    "AttemptState",
    "Event",
    "Outcome",
    "Plan",
    "Registry",
    "Rental",
    "RentalState",
    "RentalType",
    "Run",
    "RunState",
    "SecondHome",
    "Seen",
    "SendItem",
    "Stay",
]


class RunState(StrEnum):
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    WAITING = "waiting"
    ACQUIRING = "acquiring"
    PREPARING = "preparing"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    COLLECTING = "collecting"
    ENDED = "ended"


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """the task: its command ended with a status other than 0"""
    ERROR = "error"
    """the system: market, machine, network, this computer"""
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    MISSED = "missed"


class RentalState(StrEnum):
    INTENDED = "intended"
    UNKNOWN = "unknown"
    BOOTING = "booting"
    UP = "up"
    HELD = "held"
    RELEASING = "releasing"
    GONE = "gone"


class AttemptState(StrEnum):
    ACQUIRING = "acquiring"
    PREPARING = "preparing"
    RUNNING = "running"
    COLLECTING = "collecting"
    ENDED = "ended"


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def but(self, **changes: Any) -> Self:
        """A copy with these fields changed; an unknown field is a mistake and raises."""
        unknown = set(changes) - set(type(self).model_fields)
        if unknown:
            raise AttributeError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        return self.model_copy(update=changes)


class SendItem(Record):
    """A local path to send to the run's ``data/``, under ``into``; or an address (``kernel.source``) that
    the machine fetches there itself, with these secrets."""

    path: str
    into: str = ""
    credentials: list[str] = Field(default_factory=list)
    endpoint: str = ""
    region: str = ""


class SecondHome(Record):
    """A bucket that a run's machine writes its results to by itself; its keys are secrets of the run."""

    url: str
    endpoint: str = ""
    region: str = ""


class Registry(Record):
    """Who fetches the container image; ``secret`` names the password."""

    server: str
    user: str
    secret: str


class Plan(Record):
    """What was decided before any money is spent; frozen with the run."""

    project: str
    command: str
    setup: str = ""
    environment: Environment | None = None
    """what uv builds before ``setup``; None: nothing"""
    name: str = ""
    note: str = ""
    place: Literal["vast", "here"] = "vast"
    """here: this computer, where nothing is rented and nothing bills"""
    on: str = ""
    """the rental it runs on: one that was kept, and nothing is rented for it"""
    query: str = ""
    """conditions over offers in the official client's language"""
    order: str = "dph_total"
    type: RentalType = "on-demand"
    disk_gb: float = 20.0
    image: str = ""
    registry: Registry | None = None
    """where the image is not public"""
    offer_id: int | None = None
    machine_id: int | None = None
    cap: float
    """most $/h, disk included, that may be rented"""
    bid: float | None = None
    """$/h to offer instead of the minimum + 5 % (interruptible)"""
    env: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    """names of variables that are secret, with where their values were found; never a value"""
    ports: list[str] = Field(default_factory=list)
    send: list[SendItem] = Field(default_factory=list)
    results: list[str] = Field(default_factory=list)
    """directories of the project that are results: on the remote they lie in ``results/``"""
    results_into: str = ""
    """where results come home: an absolute directory of this run"""
    results_every_s: float = 180.0
    results_max_bytes: int = 0
    results_settle_s: float = 10.0
    """a result file that changed less than this long ago may still be written"""
    results_exclude: list[str] = Field(default_factory=list)
    """patterns of result files that never come home"""
    results_keep: int = 1
    """how many earlier versions of a result file stay at home"""
    results_also: SecondHome | None = None
    disk_pause: bool = True
    """its processes are stopped while the machine's disk is full, instead of failing to write"""
    max_life_s: float = 86400.0
    """the remote ends itself this long after renting, whatever happens"""
    lease_s: float = 43200.0
    grace_s: float = 1800.0
    stop_grace_s: float = 30.0
    boot_limit_s: float = 1200.0
    ssh_limit_s: float = 300.0
    tries: int = 5
    wait_s: float = 600.0
    """how long to look for an offer before giving up"""
    keep_s: float = 0.0
    """hold the rental this long after the run, for another one"""
    tty: bool = False
    """the command runs on a terminal of its own, to which people may attach"""

    @property
    def job_secrets(self) -> list[str]:
        """Those that the command is given: a registry's password is the market's alone."""
        kept = self.registry.secret if self.registry is not None else None
        return [name for name in self.secrets if name != kept]


class Run(Record):
    id: str
    plan: Plan
    code: CodeState | None = None
    state: RunState = RunState.WAITING
    want: Literal["run", "stop"] = "run"
    stop_reason: str = ""
    drop_results: bool = False
    """the user chose to lose what is not home (rule 4, last row)"""
    outcome: Outcome | None = None
    exit_code: int | None = None
    reason: str = ""
    """why it is in this state, for a person"""
    hopeless: str = ""
    """why no machine could do it: it ends, and no other is rented for it"""
    phase: str = ""
    """what the place says it is doing"""
    created: float
    updated: float
    started: float | None = None
    ended: float | None = None
    not_before: float = 0.0
    """no acquiring before this time"""
    like: str | None = None
    """the run this one repeats"""
    results_synced: float | None = None
    """when results last came home"""
    also: str = ""
    """how its results' second home stands, for a person"""
    disk_there: str = ""
    """what is to be said of the machine's disk when it is nearly full"""
    disk_here: str = ""
    """what is to be said of this computer's disk when results have no room"""
    results_complete: bool = False
    """the final, verified set is home"""
    archived: float | None = None
    """when it was taken out of the lists; its rows and its part of the money stay"""

    @property
    def live(self) -> bool:
        return self.state is not RunState.ENDED

    @property
    def disk(self) -> str:
        """What a person must know of a disk that is nearly full, at either end; '' when there is room."""
        return "; ".join(filter(None, (self.disk_there, self.disk_here))) if self.live else ""


class Attempt(Record):
    run: str
    n: int
    rental: str
    state: AttemptState = AttemptState.ACQUIRING
    created: float
    sent: float | None = None
    """when everything had been sent, and the command was about to be handed over"""
    submitted: float | None = None
    started: float | None = None
    ended: float | None = None
    job_state: str = ""
    job_reason: str = ""
    job_words: str = ""
    """more on how it ended, for a person: which package could not be installed"""
    environment: str = ""
    """what its set-up said of the environment: built or reused, in how many seconds"""
    exit_code: int | None = None
    collected: float | None = None
    """when the final, verified results were home"""
    stop_asked: float | None = None
    failures: int = 0
    """system failures in a row since something last worked"""
    retry_at: float = 0.0
    failing_since: float | None = None
    """when the first of those failures in a row was, of whatever kind"""
    unreachable_since: float | None = None
    outcome: Outcome | None = None
    reason: str = ""

    @property
    def job(self) -> str:
        return f"{self.run}-{self.n}"

    @property
    def begun(self) -> bool:
        """Whether its command may run, for all that is known: from just before it is handed over."""
        return self.submitted is not None or self.sent is not None

    @property
    def live(self) -> bool:
        return self.state is not AttemptState.ENDED


class Seen(Record):
    """What the market last said of a contract, and when."""

    at: float
    status: str | None = None
    message: str = ""
    intended: str | None = None
    address: list[tuple[str, int, str, str]] = Field(default_factory=list)
    """host, port, user, kind"""
    price: float | None = None
    """$/h when running"""


class Stay(Record):
    """One run's time on a rental that went on to another run."""

    run: str
    attempt: int
    until: float
    cost: float
    """$: this run's part of the rental's cost"""


class Rental(Record):
    id: str
    run: str
    """the run that has it"""
    attempt: int
    past: list[Stay] = Field(default_factory=list)
    """the runs that had it before, oldest first"""
    label: str
    state: RentalState = RentalState.INTENDED
    type: RentalType = "on-demand"
    offer_id: int
    machine_id: int | None = None
    gpu_name: str = ""
    num_gpus: int = 0
    cuda: float | None = None
    """the newest CUDA that its driver runs, as its offer said (``cuda_max_good``)"""
    place_name: str = ""
    offer_price: float
    """$/h at this disk, as shown"""
    disk_gb: float
    disk_per_hour: float = 0.0
    """$/h of the disk alone: what it costs when stopped"""
    cap: float
    bid: float | None = None
    intended: float
    """when the request was about to be made"""
    contract: int | None = None
    price: float | None = None
    """$/h of the contract, once known"""
    price_checked: bool = False
    seen: Seen | None = None
    running_since: float | None = None
    up: float | None = None
    host_key: str = ""
    remote_home: str = ""
    """the remote user's home directory, absolute, as the machine said"""
    looks: int = 0
    """complete listings in a row without it"""
    next_look: float = 0.0
    stopped_since: float | None = None
    """seen stopped though no run asked for it (outbid, host, credit, its guard, or home: ``halted``)"""
    halted: float | None = None
    """when home had it stopped, because nobody reached it and it did not end itself"""
    stranger: bool = False
    """another host key than the pinned one answers at its address: nothing is sent there"""
    starts: int = 0
    """times it was started again since its machine last gave something"""
    start_at: float = 0.0
    """not asked to start again before this time"""
    copier_key: str = ""
    """the pinned key of its host's copier, which reaches its disk while it stands"""
    copy_at: float = 0.0
    """its results are not asked of the copier before this time"""
    copies: int = 0
    """times in a row that the copier did not give them"""
    copy_trouble: str = ""
    """why it did not, the last time"""
    trouble: str = ""
    """what the market answers instead of doing what is to be done about it; '' when all is well"""
    account: str = ""
    """the market's account it was rented with; '' when that was not known"""
    release_reason: str = ""
    failed: bool = False
    """released because of it: evidence is kept, and the machine not taken again for this run"""
    fatal_since: float | None = None
    evidence: float | None = None
    destroy_asked: float | None = None
    destroy_accepted: float | None = None
    keep_until: float | None = None
    deadline: float | None = None
    """epoch s at which the guard ends it"""
    gone: float | None = None
    billed_from: float | None = None
    cost: float = 0.0
    """$ so far, as estimated from price and time (bytes not counted)"""
    cost_at: float | None = None

    @property
    def live(self) -> bool:
        return self.state is not RentalState.GONE

    @property
    def may_bill(self) -> bool:
        """From the intent on: a request in flight may have been carried out."""
        return self.state is not RentalState.GONE

    def cost_until(self, now: float) -> float:
        """$ from the first second it could bill until ``now`` or its end."""
        if self.billed_from is None or self.price is None:
            return self.cost
        start = self.cost_at if self.cost_at is not None else self.billed_from
        end = self.gone if self.gone is not None else now
        rate = self.disk_per_hour if self.stopped_since is not None else self.price
        return self.cost + max(0.0, end - start) * rate / 3600

    def cost_of(self, run: str, now: float) -> float:
        """$ of ``cost_until`` that is this run's: each pays for the time that it had the machine."""
        if run == self.run:
            return max(0.0, self.cost_until(now) - sum(stay.cost for stay in self.past))
        return sum(stay.cost for stay in self.past if stay.run == run)

    def cost_since(self, start: float, now: float) -> float:
        """$ from ``start`` until ``now``. What was booked before is taken as spread evenly over its time."""
        whole = self.cost_until(now)
        begin, end = self.billed_from, self.gone if self.gone is not None else now
        if begin is None or end <= begin or start <= begin:
            return whole if begin is None or end > start else 0.0
        if start >= end:
            return 0.0
        booked = self.cost_at if self.cost_at is not None else begin
        if start < booked:
            return whole - self.cost * (start - begin) / (booked - begin)
        return (whole - self.cost) * (end - start) / (end - booked)


class Event(Record):
    """One row of the append-only log. ``kind``: run, attempt, rental, engine, money, note."""

    at: float
    kind: str
    text: str
    run: str | None = None
    rental: str | None = None
    old: str | None = None
    new: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    seq: int | None = None
