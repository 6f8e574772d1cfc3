"""What a random life is made of: everything is drawn from its seed before it begins.

A life is a list of decisions, each with a name: ``s3`` is its fourth step, ``f0`` its first fault, ``m1`` a
habit of its market. Any of them can be left out without changing what the others are (``only``), which is
what makes it possible to shrink a life that fails.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from choline_tui.simulator.faults import CONTRACT_FAULTS, Rule
from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.spoil import REFUSING, SPOILING

__all__ = ["GENERATOR", "RESULTS", "Recipe", "Step", "draw", "job_model"]

GENERATOR = 4
"""Changes whenever a seed stands for another life than before."""

RESULTS = {"model.bin": b"weights" * 100, "keep/step.txt": b"20"}
TOUCHES = (
    ["http before rent", "http after rent"] * 4
    + ["http before destroy", "http after destroy"] * 2
    + ["http before search", "http after search", "http after listing", "http after state"]
    + ["session before submit", "session after submit"] * 2
    + ["session after prepare", "session before fetch", "session after fetch", "session after stop"]
    + ["session before renew", "store before", "store after", "store before", "store after"]
)
"""where the engine can be made to die: what it was about to do, or had just done"""
CALLS = ["fetch", "fetch", "fetch", "submit", "prepare", "send", "status", "stop", "renew", "probe"]
ROUTES = ["ask.create", "ask.create", "ask.create", "instance.*", "instance.list", "instance.list",
          "instance.destroy", "instance.destroy", "instance.state", "search", "*", "*"]  # fmt: skip
HABITS = {
    "m0": ("moving", True, 0.4),
    "m1": ("rate_limits", True, 0.5),
    "m2": ("contested", True, 0.2),
    "m3": ("people", 12.0, 0.25),
}
"""name: (option of the simulator, value, how often)"""


@dataclass(frozen=True)
class Step:
    n: int
    at: float
    """s after the life began"""
    what: str
    """a method of ``lives.Life`` without its underscore"""
    home: int = 0
    choice: float = 0.0
    """in [0, 1): which of those that are there at that time"""
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"s{self.n}"

    def __str__(self) -> str:
        home = " (second home)" if self.home else ""
        words = ", ".join(f"{k}={v}" for k, v in self.args.items())
        return f"{self.name:>4} {self.at:7.1f} s{home} {self.what} {words}".rstrip()


@dataclass(frozen=True)
class Recipe:
    seed: int
    offers: int
    boot: float
    ration: int
    habits: dict[str, Any]
    steps: tuple[Step, ...]
    faults: tuple[Rule, ...]
    until: float
    """s after which there is no trouble any more"""
    dropped: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Every decision that is still in it."""
        every = [f"f{n}" for n in range(len(self.faults))]
        every += [name for name, (option, *_) in HABITS.items() if option in self.habits]
        every += [step.name for step in self.steps]
        return [name for name in every if name not in self.dropped]

    def only(self, names: Collection[str]) -> "Recipe":
        return replace(self, dropped=frozenset(set(self.names()) - set(names)) | self.dropped)

    def live_steps(self) -> list[Step]:
        return [step for step in self.steps if step.name not in self.dropped]

    def rules(self) -> list[Rule]:
        """One left out stays in its place, and never fires: the chances of the others stay theirs."""
        never = (0.0, 0.0)
        return [
            replace(rule, chance=never[0], times=0) if f"f{n}" in self.dropped else rule
            for n, rule in enumerate(self.faults)
        ]

    def options(self) -> dict[str, Any]:
        """Of the simulator."""
        kept = {HABITS[name][0] for name in self.names() if name in HABITS}
        return {"moving": False} | {option: v for option, v in self.habits.items() if option in kept}

    @property
    def homes(self) -> int:
        return 1 + max((step.home for step in self.live_steps()), default=0)

    def story(self) -> Iterator[str]:
        """For a person: what the life is made of."""
        yield f"seed {self.seed}, {self.offers} offers, {self.boot:g} s to boot, {self.ration} searches a day"
        options = ", ".join(f"{k}={v}" for k, v in self.options().items() if v)
        if options:
            yield f"     market: {options}"
        for n, rule in enumerate(self.faults):
            if f"f{n}" not in self.dropped:
                plain = Rule(rule.what)
                words = {k: v for k, v in vars(rule).items() if v != getattr(plain, k) and k != "what"}
                yield f"{f'f{n}':>4} {rule.what} {', '.join(f'{k}={v}' for k, v in words.items())}"
        for step in self.live_steps():
            yield str(step)


def draw(seed: int) -> Recipe:
    rng = Random(f"life/{seed}")
    boot = rng.choice([5.0, 20.0, 60.0, 60.0, 150.0])
    habits = {option: value for option, value, often in HABITS.values() if rng.random() < often}
    two = rng.random() < 0.3
    steps: list[Step] = []
    at = 0.0
    count = rng.randint(5, 14)
    twins = rng.randrange(1, count) if two and rng.random() < 0.6 else None
    for n in range(count):
        if n:
            at += rng.choice([0.3, 3.0, 20.0, 70.0, 300.0, 900.0]) * rng.random()
        home = 1 if two and n and rng.random() < 0.3 else 0
        what = "start" if n == 0 else rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if n == twins:
            home, what = 1, "twins"
        args = _ARGS[what](rng) if what in _ARGS else {}
        steps.append(Step(n, round(at, 3), what, home, round(rng.random(), 4), args))
    until = at + rng.choice([10.0, 300.0, 1800.0]) * rng.random()
    faults = tuple(_fault(rng, until) for _ in range(rng.choice([0, 1, 2, 3, 5, 8])))
    ration = rng.choice([500, 500, 500, 30])
    return Recipe(seed, rng.choice([25, 60]), boot, ration, habits, tuple(steps), faults, until)


# ------------------------------------------------------------------------------------------ the user


def _plan(rng: Random) -> dict[str, Any]:
    return {
        "keep_s": rng.choice([0.0, 0.0, 300.0, 1200.0]),
        "wait_s": rng.choice([60.0, 600.0, 3600.0]),
        "max_life_s": rng.choice([2400.0, 7200.0, 14400.0]),
        "lease_s": rng.choice([600.0, 600.0, 3600.0]),
        "grace_s": rng.choice([300.0, 900.0]),
        "type": rng.choice(["on-demand", "on-demand", "interruptible"]),
        "cap": rng.choice([0.3, 0.6, 2.0, 2.0]),
        "results_every_s": rng.choice([60.0, 180.0, 1e6]),
        "job": rng.randrange(1 << 30),
    }


def job_model(number: int) -> JobModel:
    """What the command of a plan does."""
    rng = Random(f"job/{number}")
    return JobModel(
        duration_s=rng.choice([5.0, 60.0, 400.0, 1500.0, 4000.0]),
        exit_code=rng.choice([0, 0, 0, 1]),
        log_lines=[f"step {n}" for n in range(rng.choice([2, 10]))],
        result_files=RESULTS,
        result_every_s=rng.choice([0.0, 3.0, 100.0]),
        ignores_term=rng.random() < 0.3,
    )


def _start_stop(rng: Random) -> dict[str, Any]:
    return _plan(rng) | {"after": round(rng.choice([0.2, 2.0, 10.0, 90.0]) * rng.random(), 3)}


# ------------------------------------------------------------------------------------------- trouble


def _away(rng: Random) -> float:
    return float(round(rng.choice([0, 0, 0, 60, 1200, 8000]) * rng.random(), 1))


def _twins(rng: Random) -> dict[str, Any]:
    gap = round(rng.choice([3.0, 30.0]) * rng.random(), 2)
    return _plan(rng) | {"gap": gap, "done": rng.random() < 0.4}


_ARGS: dict[str, Callable[[Random], dict[str, Any]]] = {
    "start": _plan,
    "start_stop": _start_stop,
    "twins": _twins,
    "stop": lambda rng: {"drop": rng.random() < 0.25},
    "destroy": lambda rng: {"drop": rng.random() < 0.4},
    "crash": lambda rng: {"away": _away(rng)},
    "crash_at": lambda rng: {
        "touch": rng.choice(TOUCHES),
        "nth": rng.choice([1, 1, 1, 2, 5]),
        "away": _away(rng),
    },
    "sleep": lambda rng: {"seconds": round(rng.choice([20, 600, 6000]) * rng.random(), 1)},
    "jump": lambda rng: {"seconds": rng.choice([-3600.0, -600.0, -40.0, 40.0, 600.0, 3600.0])},
    "offline": lambda rng: {"seconds": round(rng.choice([5, 90, 900, 4000]) * rng.random(), 1)},
    "disk_full": lambda rng: {"seconds": round(rng.choice([2, 30, 300]) * rng.random(), 1)},
    "refuse": lambda rng: {"seconds": round(rng.choice([30, 400, 2500]) * rng.random(), 1)},
    "take_gpus": lambda rng: {"seconds": round(rng.choice([60, 600, 4000]) * rng.random(), 1)},
    "call_fails": lambda rng: {
        "call": rng.choice(CALLS),
        "how": rng.choice(
            ["dropped before", "dropped after", "timeout", "failed before", "failed after", "slow"]
        ),
        "times": rng.choice([1, 2, 4]),
    },
    "deaf": lambda rng: {"times": rng.choice([1, 1, 2]), "seconds": 1800.0},
    "double": lambda rng: {"lost": rng.random() < 0.7},
    "rent_lost": lambda rng: {"done": rng.random() < 0.6, "lag": rng.choice([0.0, 20.0, 60.0])},
    "forget": lambda rng: {
        "seconds": round(rng.choice([3, 12, 40, 200]) * rng.random(), 1),
        "how": rng.choice(["rows-none", "rows-short", "total-only", "rows-short-consistent"]),
    },
}  # fmt: skip

_WEIGHTS = {
    "start": 3, "start_stop": 2, "stop": 2, "again": 1, "pull": 1, "destroy": 1, "rentals": 1,
    "crash": 2, "crash_at": 5, "sleep": 2, "jump": 1, "offline": 2, "disk_full": 1,
    "cut": 1, "refuse": 2, "market_stops": 1, "take_gpus": 1, "destroyed_elsewhere": 1, "reboot": 1,
    "call_fails": 3, "deaf": 2, "double": 1, "rent_lost": 3, "forget": 3,
    "colleague_rents": 1, "colleague_ends": 1, "nothing": 1,
}  # fmt: skip

HEAVY = {"huge": 1}
"""32 MiB of it: once is enough"""
HARMFUL = sorted({*REFUSING, *SPOILING, "refused", "taken"})
BODILY = sorted(CONTRACT_FAULTS) + ["wrong-price"] * 3
FOR_LONG = {"401-key", "404-key", "404-session", "401-2fa", "403-login", "403-scope", "410", "404", "quota"}
"""what ends a search or an account for good: not for the whole life of every second seed"""


def _fault(rng: Random, until: float) -> Rule:
    if rng.random() < 0.35:
        what = rng.choice(BODILY)
        seconds = float(rng.choice([20, 120, 900]))
        return Rule(
            what,
            chance=rng.choice([0.3, 0.7, 1.0]),
            times=rng.choice([1, 2]),
            seconds=seconds,
            delay_s=float(rng.choice([0, 20, 200])),
            factor=rng.choice([1.5, 10.0, 30.0]),
            text=rng.choice(["offline", "unknown"]) if what == "host-lost" else "",
        )
    what = rng.choice(HARMFUL)
    on = rng.choice(ROUTES)
    times = HEAVY.get(what, rng.choice([0, 1, 3]))
    acted = rng.random() < 0.4
    rows = rng.choice([1, 1, 20])
    shape = rng.choice(["chance", "nth", "window"])
    if what in FOR_LONG and shape == "chance":
        shape = "nth"
    if shape == "nth":
        nth = tuple(sorted(rng.sample(range(1, 7), rng.randint(1, 3))))
        return Rule(what, on, nth=nth, times=times, acted=acted, rows=rows, seconds=25.0)
    if shape == "window":
        begin = round(until * rng.random(), 1)
        end = begin + round(rng.choice([10, 60, 400]) * rng.random(), 1)
        return Rule(what, on, from_s=begin, until_s=end, times=times, acted=acted, rows=rows, seconds=25.0)
    chance = rng.choice([0.03, 0.1, 0.4])
    return Rule(what, on, chance=chance, times=times, acted=acted, rows=rows, seconds=25.0)
