"""``run``, ``create`` and ``again``: nothing is spent before a yes, and what was shown is what is paid."""

import json
from pathlib import Path

import pytest

from choline_tui.cli.follow import exit_code
from choline_tui.kernel.errors import NoOffer, UsageError
from choline_tui.model.request import PlanCard
from choline_tui.model.run import Event, Outcome, Plan, RentalState
from choline_tui.services.choline import Followed, RunView
from tests.cli.fakes import (
    HOSTILE,
    NOW,
    Bench,
    FakeCholine,
    attempt,
    ended_view,
    forged,
    live_view,
    offer,
    plan,
    rental,
)


def card(made: Plan | None = None, **changes: object) -> PlanCard:
    base: dict[str, object] = {
        "plan": made or plan(),
        "offer": offer(),
        "price": 0.72,
        "offers": 5,
        "offers_seen": 64,
        "commit": "1a2b3c4d5e",
        "branch": "main",
        "dirty": 3,
        "files": 7,
        "bytes": 12_000,
        "disk_per_day": 0.1,
        "when_unreachable": "the machine stops itself after 12 h",
        "credit": 25.0,
    }
    return PlanCard(**{**base, **changes})  # type: ignore[arg-type]


def stream() -> list[Followed]:
    return [
        Followed(event=Event(at=NOW, kind="run", text="asked for")),
        Followed(log=b"step 1\nstep 2\n", source="run", attempt=1),
        Followed(event=Event(at=NOW + 2.5, kind="run", text="the command ended")),
    ]


def job(view: RunView | None = None, **changes: object) -> FakeCholine:
    return FakeCholine(card=card(), stream=stream(), after_start=view or ended_view(), **changes)  # type: ignore[arg-type]


def test_without_a_terminal_it_needs_a_yes() -> None:
    bench = Bench(job())
    with pytest.raises(UsageError) as caught:
        bench("run", "--gpu", "4090", "--", "true")
    assert "-y" in caught.value.hint and caught.value.exit_code == 2
    assert "start" not in bench.choline.methods()


@pytest.mark.parametrize("answer", ["", "n", "no", "x", "yes!", "maybe"])
def test_the_default_answer_is_no(answer: str) -> None:
    bench = Bench(job(), interactive=True, answer=answer)
    code, _, err = bench("run", "--gpu", "4090", "--", "true")
    assert code == 130 and "Nothing was rented" in err
    assert "start" not in bench.choline.methods() and bench.questions == 1


@pytest.mark.parametrize("answer", ["y", "Y", " yes "])
def test_a_yes_starts_it(answer: str) -> None:
    bench = Bench(job(), interactive=True, answer=answer)
    code, out, err = bench("run", "--gpu", "4090", "--", "true")
    assert code == 0
    assert "[y/N]" in err
    assert out == "step 1\nstep 2\n"
    assert "  2.5s  the command ended" in err


def test_the_cap_of_the_card_goes_along_whatever_the_premium_was() -> None:
    bench = Bench(job())
    bench("run", "--gpu", "4090", "--premium", "25", "-y", "--", "true")
    started = next(p for m, p in bench.choline.asked if m == "start")
    assert (started.max_price, started.premium) == (0.8, None)


def test_every_flag_reaches_the_request(tmp_path: Path) -> None:
    bench = Bench(job(), environ={"TOKEN": "hidden"})
    bench(
        "run", "--query", "gpu_ram>=40", "--offer", "12", "--machine-id", "34", "--name", "n", "-m", "why",
        "--image", "img", "--disk", "50", "--type", "interruptible", "--max-price", "1.5", "--bid", "0.3",
        "--env", "A=1", "--env", "TOKEN", "-p", "6006", "-p", "8080:80", "--keep", "30m", "--max-life", "24h",
        "--wait", "10m", "--tries", "3", "--project", str(tmp_path), "--dry-run", "--", "python", "a b.py",
    )  # fmt: skip
    asked = next(p for m, p in bench.choline.asked if m == "plan")
    assert asked.model_dump(exclude_defaults=True) == {
        "project": str(tmp_path), "command": "python 'a b.py'", "query": "gpu_ram>=40", "offer": 12,
        "machine_id": 34, "name": "n", "note": "why", "image": "img", "disk": 50.0, "type": "interruptible",
        "max_price": 1.5, "bid": 0.3, "env": {"A": "1", "TOKEN": "hidden"}, "ports": ["6006", "8080:80"],
        "keep_s": 1800.0, "max_life_s": 86400.0, "wait_s": 600.0, "tries": 3,
    }  # fmt: skip


def test_on_a_kept_machine_nothing_is_rented_and_the_card_says_where() -> None:
    kept = rental(state=RentalState.HELD, past=[{"run": "older", "attempt": 1, "until": NOW, "cost": 1.5}])
    shown = card(offer=None, rental=kept.model_dump(mode="json"))
    bench = Bench(FakeCholine(card=shown), interactive=True, answer="n")
    code, _, err = bench("run", "--on", "abc123", "--keep", "10m", "--", "true")
    assert code == 130 and "Run on it at $0.7200/h? [y/N]" in err and "Nothing was started" in err
    assert "kept after run older, abc123" in " ".join(err.split()) and "\n  cap " not in err
    asked = next(p for m, p in bench.choline.asked if m == "plan")
    assert (asked.on, asked.keep_s, asked.command) == ("abc123", 600.0, "true")
    with pytest.raises(UsageError, match="--on rents nothing"):
        bench("run", "--on", "abc123", "--filter", "mine", "--", "true")


def test_again_takes_the_frozen_code_unless_told_otherwise() -> None:
    for flags, same in ((["again", "abc"], True), (["again", "abc", "--new-code"], False)):
        bench = Bench(job())
        bench(*flags, "--dry-run")
        asked = next(p for m, p in bench.choline.asked if m == "plan")
        assert (asked.like, asked.same_code, asked.command) == ("abc", same, "")
    bench = Bench(job())
    bench("run", "--like", "abc", "--dry-run")
    assert bench.choline.asked[0][1].same_code is False


def test_create_needs_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        Bench(job())("create", "-y")
    assert "choline.toml" in caught.value.message
    (tmp_path / "choline.toml").write_text('command = "true"\ngpu = "4090"\n')
    assert Bench(job())("create", "-y")[0] == 0


def test_a_dry_run_shows_everything_that_is_decided_and_starts_nothing() -> None:
    made = plan(env={"TOKEN": "secret"}, ports=["6006"], keep_s=1800.0, type="interruptible", setup="make")
    choline = FakeCholine(
        card=card(made, bid=0.31, warnings=["the host leaves in 2 days"], data_bytes=5_000_000)
    )
    code, out, _ = Bench(choline)("run", "--gpu", "4090", "--dry-run")
    assert code == 0 and choline.methods() == ["plan"]
    for part in (
        "2x RTX 4090, Sweden, SE, offer 63799840",
        "$0.7200/h with 20 GB disk, interruptible",
        "$0.3100/h; somebody",
        "$0.8000/h with 20 GB disk",
        "at least 5 offers under it now",
        "$19.20: the cap for a rental's longest life, 24h",
        "traffic extra",
        "python train.py",
        "make",
        "TOKEN",
        "6006",
        "7 files, 12.0 kB",
        "1a2b3c4d main, 3 changed",
        "5.0 MB of data",
        "/home/me/project/results/abc123",
        "30m00s after the run",
        "stops itself",
        "$0.10 a day",
        "$25.00",
        "! the host leaves in 2 days",
    ):
        assert part in " ".join(out.split()), part
    assert "secret" not in out
    document = json.loads(Bench(choline)("run", "--gpu", "4090", "--dry-run", "--json")[1])
    assert document["plan"]["env"] == {"TOKEN": "***"} and document["price"] == 0.72


def test_a_hostile_card_is_inert() -> None:
    made = plan(
        name=HOSTILE, note=HOSTILE, command=HOSTILE, image=HOSTILE, env={"A": "x"}, results_into=HOSTILE
    )
    foul = card(
        made, offer=dict.fromkeys(offer(), HOSTILE), branch=HOSTILE, commit=HOSTILE, warnings=[HOSTILE]
    )
    _, out, _ = Bench(FakeCholine(card=foul))("run", "--gpu", "4090", "--dry-run")
    assert forged(out) == []


def test_detached_it_prints_the_id_alone() -> None:
    code, out, _ = Bench(job(live_view()))("run", "--gpu", "4090", "-y", "-d", "--", "true")
    assert (code, out) == (0, "abc123\n")
    _, out, _ = Bench(job(live_view()))("run", "--gpu", "4090", "-y", "-d", "--json", "--", "true")
    assert json.loads(out) == {
        "id": "abc123",
        "state": "running",
        "results": "/home/me/project/results/abc123",
    }


def test_json_keeps_stdout_for_the_document() -> None:
    code, out, err = Bench(job())("run", "--gpu", "4090", "-y", "--json", "--", "true")
    document = json.loads(out)
    assert (code, document["id"], document["outcome"]) == (0, "abc123", "succeeded")
    assert "step 1" in err


def test_the_last_line_says_outcome_cost_and_results() -> None:
    _, _, err = Bench(job())("run", "--gpu", "4090", "-y", "--", "true")
    last = err.splitlines()[-1]
    # from 500 s to 90 s ago at $0.72/h
    assert last == "✔ succeeded abc123: in 8m20s; about $0.0820; results in /home/me/project/results/abc123"


def test_what_still_bills_is_said_at_the_end() -> None:
    kept = ended_view(plan={"keep_s": 1800.0})
    kept = RunView(kept.run, kept.attempts, [rental(state=RentalState.HELD, keep_until=NOW + 1700)])
    choline = job(kept)
    _, _, err = Bench(choline)("run", "--gpu", "4090", "-y", "--", "true")
    assert "abc123-1 is kept until" in err and "bills $0.7200/h" in err and "choline destroy abc123-1" in err
    # a machine that is kept would keep us waiting for nothing
    assert next(p for m, p in choline.asked if m == "follow")[1]["until"] == "ended"


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.SUCCEEDED, 0),
        (Outcome.FAILED, 1),
        (Outcome.ERROR, 3),
        (Outcome.STOPPED, 130),
        (Outcome.CANCELLED, 130),
    ],
)
def test_the_exit_code_is_the_outcome(outcome: Outcome, expected: int) -> None:
    assert Bench(job(ended_view(outcome)))("run", "--gpu", "4090", "-y", "--", "true")[0] == expected


def test_no_offer_is_exit_4_before_and_after_the_start() -> None:
    view = ended_view(Outcome.ERROR)
    assert exit_code(RunView(view.run, [], [])) == 4
    assert exit_code(RunView(view.run, [attempt(outcome=Outcome.MISSED)], [rental(contract=None)])) == 4
    assert exit_code(RunView(view.run, [attempt(outcome=Outcome.ERROR)], [rental(contract=None)])) == 3
    bench = Bench(FakeCholine(fails={"plan": NoOffer("none under the cap")}))
    with pytest.raises(NoOffer) as caught:
        bench("run", "--gpu", "4090", "-y", "--", "true")
    assert caught.value.exit_code == 4


def test_ctrl_c_detaches_and_says_how_to_stop() -> None:
    choline = job(live_view())
    choline.fails["follow"] = KeyboardInterrupt()
    code, _, err = Bench(choline)("run", "--gpu", "4090", "-y", "--", "true")
    assert code == 130
    assert "abc123 goes on and bills" in err and "choline stop abc123" in err
    assert "stop" not in choline.methods()


def test_ctrl_c_during_the_start_does_not_promise_anything() -> None:
    choline = job(live_view())
    choline.fails["start"] = KeyboardInterrupt()
    code, _, err = Bench(choline)("run", "--gpu", "4090", "-y", "--", "true")
    assert code == 130 and "choline status" in err


def test_a_bid_belongs_to_an_interruptible_rental() -> None:
    with pytest.raises(UsageError):
        Bench(job())("run", "--gpu", "4090", "--type", "on-demand", "--bid", "0.2", "-y", "--", "true")
