"""What a person who watches is told, in plain words and once."""

import pytest

from choline_tui.cli.follow import Follower
from choline_tui.cli.output import Output
from choline_tui.cli.progress import Waiting
from choline_tui.model.event_words import STATES, plain_words, worth_telling
from choline_tui.model.run import AttemptState, Event, RentalState, RunState
from tests.cli.fakes import HOSTILE, NOW, Bench, FakeCholine, Terminal, ended_view, forged, offer, offers
from tests.support import wait_until


def event(kind: str, text: str, new: str | None = None) -> Event:
    return Event(at=NOW, kind=kind, text=text, new=new)


@pytest.mark.parametrize(
    ("kind", "text", "new", "told"),
    [
        ("run", "acquiring -> preparing", "preparing", "the machine is being prepared"),
        ("run", "running", "running", "the command runs"),
        ("rental", "up -> releasing", "releasing", "is being destroyed; it may bill until that is verified"),
        ("attempt", "attempt 1", "acquiring", ""),
        ("attempt", "attempt 2", "acquiring", "on to another machine: attempt 2"),
        ("attempt", "attempt 2 on the same machine", "acquiring", "attempt 2 on the same machine"),
        ("attempt", "attempt 1 ended", "ended", ""),
        ("attempt", "job: running", "running", ""),
        ("attempt", "job: stopping", "running", "the machine says of the command: stopping"),
        ("run", "renting 1x RTX 4090 at $0.2/h", "acquiring", ""),
        ("rental", "rented: contract 24", "booting", "rented: contract 24"),
        ("note", "curious", None, "curious"),
    ],
)
def test_internals_read_as_plain_words_or_not_at_all(
    kind: str, text: str, new: str | None, told: str
) -> None:
    assert worth_telling(event(kind, text, new)) == told
    # the timeline of `show` leaves nothing out
    assert plain_words(event(kind, text, new))


def test_every_state_has_words() -> None:
    assert set(STATES["run"]) | {"draft"} == {str(s) for s in RunState}
    assert set(STATES["attempt"]) == {str(s) for s in AttemptState}
    assert set(STATES["rental"]) == {str(s) for s in RentalState}


def test_foreign_text_in_an_event_is_inert() -> None:
    assert forged(worth_telling(event("rental", f"the market says: {HOSTILE}"))) == []


def test_a_long_event_is_folded_between_words_under_its_own_beginning() -> None:
    err = Terminal()
    out = Output(Terminal(), err, {}, 40, err_width=40)
    Follower(out).event(event("rental", "the market says: loading " + "layer " * 12))
    lines = err.getvalue().splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 40
    assert all(line.startswith(" " * 9 + "layer") for line in lines[1:])


def test_whoever_waits_is_told_for_what_and_then_it_is_gone() -> None:
    err = Terminal()
    with Waiting(Output(Terminal(), err, {}), "asking the market", after=0.001):
        wait_until(lambda: "asking the market (0s)" in err.getvalue())
    assert err.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {}])
def test_a_pipe_or_a_dumb_terminal_gets_no_moving_line(environ: dict[str, str]) -> None:
    import io

    err = Terminal() if environ else io.StringIO()
    with Waiting(Output(io.StringIO(), err, environ), "asking the market", after=0.0):
        pass
    assert err.getvalue() == ""


def test_a_screen_shows_the_first_offers_and_says_so() -> None:
    found = offers(*(offer(id=n) for n in range(1, 65)), complete=False)
    tall = Bench(FakeCholine(found=found), width=80, height=24)
    _, out, err = tall("offers")
    assert len(out.splitlines()) == 1 + 18 and out.splitlines()[1].split()[0] == "1"
    assert err.startswith("the first 18 of at least 64 offers") and "--limit N" in err
    for words in (["--limit", "64"], ["--all"]):
        _, out, err = tall("offers", *words)
        assert len(out.splitlines()) == 65 and "--limit N" not in err
    assert len(Bench(FakeCholine(found=found))("offers")[1].splitlines()) == 65  # a pipe gets all


def test_the_name_of_a_gpu_is_not_cut_while_other_columns_can_go() -> None:
    found = offers(offer(gpu_name="RTX 3060 Ti"), offer(gpu_name="RTX 3060"))
    _, out, _ = Bench(FakeCholine(found=found), width=60)("offers")
    assert "RTX 3060 Ti" in out


def test_detaching_from_a_run_that_has_ended_does_not_say_it_goes_on() -> None:
    from choline_tui.cli.launch import detached

    text = detached(ended_view().run)
    assert "has ended" in text and "until it is verified gone" in text and "goes on" not in text
