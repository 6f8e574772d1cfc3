"""``status``, ``show`` and ``pull``."""

import json

import pytest

from choline_tui.cli.output import cell_width
from choline_tui.kernel.errors import NotFound, UsageError
from choline_tui.model.run import Event, Outcome, RentalState
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
    rental,
    run,
)


def test_money_comes_first() -> None:
    unknown = RunView(run("zzz"), [], [rental("zzz", state=RentalState.UNKNOWN)])
    code, out, _ = Bench(FakeCholine([live_view(), unknown]))("status")
    assert code == 0
    assert out.splitlines()[0].startswith("billing now $1.4400/h (2 rentals), spent $")
    assert "▲ unknown: 1" in out.splitlines()[0]


def test_a_row_tells_state_price_cost_commit_and_reason() -> None:
    _, out, _ = Bench(FakeCholine([live_view()]))("status")
    row = out.splitlines()[2]
    # 500 s at $0.72/h
    for cell in (
        "● running",
        "abc123",
        "tiny",
        "2x RTX 4090 Sweden, SE",
        "10m00s",
        "0.7200",
        "$0.1000",
        "1a2b3c4+3",
    ):
        assert cell in row
    assert row.endswith("the command runs")


def test_a_rental_that_is_still_releasing_stays_visible_in_red() -> None:
    view = ended_view()
    releasing = RunView(view.run, view.attempts, [rental(state=RentalState.RELEASING)])
    bench = Bench(FakeCholine([releasing]), color=True)
    _, out, _ = bench("status")
    assert "\x1b[31m▲ releasing, may bill" in out
    assert "▲" not in Bench(FakeCholine([view]))("status")[1]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_status_fits_a_narrow_terminal(width: int) -> None:
    view = live_view(reason="日本語" * 30, plan={"name": "名前" * 20})
    bench = Bench(FakeCholine([view]), width=width)
    _, out, _ = bench("status")
    table = out.splitlines()[1:]
    assert max(cell_width(line) for line in table) <= width
    assert "abc123" in out and "$0.1000" in out


def test_filters_reach_the_store_and_are_checked() -> None:
    bench = Bench()
    bench("status", "--state", "Failed, error", "--since", "2d", "--name", "x")
    assert bench.choline.asked == [
        ("runs", {"states": {"failed", "error"}, "name": "x", "since": NOW - 2 * 86400})
    ]
    with pytest.raises(UsageError) as caught:
        bench("status", "--state", "lost")
    assert "succeeded" in caught.value.hint


def test_sorting_and_limiting() -> None:
    views = [
        ended_view(run_id="one", created=NOW - 900, plan={"name": "b"}),
        RunView(run("two", created=NOW - 800, plan={"name": "C"}), [], [rental("two", price=2.0)]),
        ended_view(Outcome.FAILED, run_id="three", created=NOW - 700, plan={"name": "a"}),
    ]

    def order(*flags: str) -> list[str]:
        return [r["id"] for r in json.loads(Bench(FakeCholine(views))("status", "--json", *flags)[1])["runs"]]

    assert order() == ["three", "two", "one"]
    assert order("--sort", "name") == ["three", "one", "two"]
    assert order("--sort", "price")[0] == "two"
    assert order("--sort", "cost")[0] == "two"
    assert order("--sort", "state") == ["two", "one", "three"]
    assert order("--limit", "1") == ["three"]
    assert "2 more" in Bench(FakeCholine(views))("status", "--limit", "1")[2]


def test_hostile_text_in_every_field_is_inert() -> None:
    foul = run(
        plan={
            "name": HOSTILE, "note": HOSTILE, "command": HOSTILE, "setup": HOSTILE, "image": HOSTILE,
            "project": HOSTILE, "query": HOSTILE, "env": {"A": "its value"}, "ports": [HOSTILE],
            "results_into": HOSTILE,
        },
        reason=HOSTILE,
        phase=HOSTILE,
    )  # fmt: skip
    assert foul.code is not None
    foul = foul.but(
        code=foul.code.model_copy(update={"message": HOSTILE, "commit": HOSTILE, "branch": HOSTILE})
    )
    its = rental(gpu_name=HOSTILE, place_name=HOSTILE, label=HOSTILE, release_reason=HOSTILE)
    events = [Event(at=NOW, kind="note", text=HOSTILE)]
    view = RunView(foul, [attempt(reason=HOSTILE)], [its])
    for words in (["status"], ["show", "abc123"]):
        _, out, err = Bench(FakeCholine([view], history=events))(*words)
        assert forged(out) == [] and forged(err) == []
        assert "its value" not in out
    for words in (["status", "--json"], ["show", "abc123", "--json"]):
        _, out, _ = Bench(FakeCholine([view], history=events))(*words)
        assert forged(out) == [] and "its value" not in out
        assert json.loads(out)


def test_show_tells_plan_attempts_evidence_and_timeline() -> None:
    broken = rental(
        state=RentalState.GONE, evidence=NOW - 400, failed=True, release_reason="the GPU was missing"
    )
    view = RunView(
        run(reason="retrying"),
        [attempt(outcome=Outcome.ERROR, reason="the GPU was missing"), attempt(n=2)],
        [broken, rental(n=2)],
    )
    events = [
        Event(at=NOW - 600, kind="run", text="asked for"),
        Event(at=NOW - 590.5, kind="rental", text="rented: contract 9001"),
    ]
    code, out, _ = Bench(FakeCholine([view], history=events))("show", "abc")
    assert code == 0
    assert "python train.py" in out and "at most $0.8000/h" in out
    assert "Attempt 1: error (the GPU was missing)" in out and "Attempt 2:" in out
    assert "/nowhere/abc123/evidence/abc123-1" in out
    assert "0.0s  run      asked for" in out and "9.5s  rental   rented: contract 9001" in out
    document = json.loads(Bench(FakeCholine([view], history=events))("show", "abc", "--json")[1])
    assert document["evidence"] == {"abc123-1": "/nowhere/abc123/evidence/abc123-1"}
    assert [e["text"] for e in document["events"]] == ["asked for", "rented: contract 9001"]
    assert len(document["attempts"]) == 2


def test_a_run_that_is_not_there_is_exit_4() -> None:
    with pytest.raises(NotFound) as caught:
        Bench()("show", "nope")
    assert caught.value.exit_code == 4


def test_pull_says_where_and_how_much() -> None:
    answer = {"into": "/home/me/results", "files": 12, "bytes": 34_000, "complete": False}
    stream = [Followed(progress={"what": "results", "bytes_done": 5, "bytes_total": 5})]
    choline = FakeCholine([live_view()], stream=stream, answers={"pull": answer})
    code, out, _ = Bench(choline)("pull", "tiny")
    assert code == 0
    assert out == "12 files, 34.0 kB brought to /home/me/results (the run may still write more)\n"
    assert json.loads(Bench(choline)("pull", "abc123", "--json")[1]) == answer
    choline = FakeCholine([live_view()], answers={"pull": {**answer, "copied": "it stands"}})
    assert Bench(choline)("pull", "tiny")[1].startswith("by its host's copier, because it stands\n")
    choline = FakeCholine([live_view()], answers={"pull": {**answer, "files": 0, "unfinished": 2}})
    out = Bench(choline)("pull", "tiny")[1]
    assert "2 files are still being written; small ones are shown in unfinished/" in out
