"""A run's page: its parts in every state, what comes live, and what is there without an engine."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from choline_tui.actions import action
from choline_tui.kernel.errors import EngineError, MarketDown
from choline_tui.model.code import CodeState
from choline_tui.model.run import Attempt, AttemptState, Event, Outcome, RentalState, RunState, Seen
from choline_tui.screens.runs.evidence import EvidenceScreen
from choline_tui.screens.runs.page import PARTS, RunScreen
from choline_tui.screens.runs.parts import progress_line, timeline
from choline_tui.services.choline import Followed, RunView
from choline_tui.services.feed import EngineState
from choline_tui.widgets.facts import Facts
from choline_tui.widgets.log_view import LogView
from choline_tui.widgets.words import Words
from tests.ui.conftest import Shot, screen_text
from tests.ui.fake import HOSTILE, NOW, FakeApp, attempt, ended_view, rental, run
from tests.ui.runs.stage import RunsFake, event, make_app, picture, until

SIZES = [(80, 24), (160, 50)]


def history() -> list[Event]:
    told: list[tuple[float, str, str, str, str]] = [
        (-90600, "run", "waiting for its time", "draft", "scheduled"),
        (-600, "run", "waiting", "scheduled", "waiting"),
        (
            -590,
            "rental",
            "renting offer 77: 2x RTX 4090 in Sweden, SE at $0.7200/h (cap $0.8000)",
            "",
            "intended",
        ),
        (-580, "rental", "contract 9001 at $0.7200/h", "intended", "booting"),
        (-500, "rental", "booting -> up", "booting", "up"),
        (-480, "run", "sending 7 files, 12.3 kB", "preparing", "preparing"),
        (-470, "run", "preparing -> running", "preparing", "running"),
        (-100, "money", "cost about $0.1000", "", ""),
    ]
    return [
        event(at, kind, text, n, old=old, new=new) for n, (at, kind, text, old, new) in enumerate(told, 1)
    ]


def view_of(state: RunState, rented: RentalState | None, reason: str, **more: Any) -> RunView:
    changes = {"plan": {"name": "resnet", "note": "with the new loader"}, **more}
    rentals = [rental(state=rented, up=NOW - 500)] if rented is not None else []
    attempts = [attempt(state=AttemptState.RUNNING, started=NOW - 470)] if rentals else []
    return RunView(run(state=state, reason=reason, **changes), attempts, rentals)


def with_rental(view: RunView, **changes: Any) -> RunView:
    return RunView(view.run, view.attempts, [r.but(**changes) for r in view.rentals])


STATES: dict[str, RunView] = {
    "waiting": view_of(RunState.WAITING, None, "no offer under the cap yet: looking again in 30 s"),
    "acquiring": with_rental(
        view_of(
            RunState.ACQUIRING, RentalState.BOOTING, "waiting for its machine", phase="pulling image 3/9"
        ),
        seen=Seen(at=NOW - 4, status="loading", message="Pulling pytorch/pytorch"),
    ),
    "running": view_of(RunState.RUNNING, RentalState.UP, "the command runs"),
    "collecting": view_of(RunState.COLLECTING, RentalState.UP, "bringing results home", want="stop"),
    "held": RunView(
        ended_view(Outcome.SUCCEEDED, exit_code=0).run,
        ended_view().attempts,
        [rental(state=RentalState.HELD, keep_until=NOW + 1200)],
    ),
    "releasing": RunView(
        ended_view(Outcome.SUCCEEDED, exit_code=0).run,
        ended_view().attempts,
        [rental(state=RentalState.RELEASING, trouble="the market cannot be reached", destroy_asked=NOW - 60)],
    ),
    "succeeded": ended_view(Outcome.SUCCEEDED, exit_code=0, reason="the command ended with status 0"),
    "failed": ended_view(Outcome.FAILED, exit_code=1, reason="the command ended with status 1"),
    "error": ended_view(Outcome.ERROR, reason="5 machines failed; the last: no answer over SSH for 5 m"),
    "stopped": ended_view(Outcome.STOPPED, reason="stopped by you"),
    "cancelled": RunView(
        ended_view(Outcome.CANCELLED, results_synced=None, reason="stopped by you").run, [], []
    ),
    "missed": RunView(ended_view(Outcome.MISSED, results_synced=None, reason="it slept").run, [], []),
}


async def opened(app: FakeApp, pilot: Any, name: str = "abc123") -> RunScreen:
    await pilot.pause()
    app.open_run(name)
    await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.view is not None)
    page = app.screen
    assert isinstance(page, RunScreen)
    await settled(pilot, page)
    return page


async def settled(pilot: Any, page: RunScreen) -> None:
    """What is at home is on the screen."""
    view = page.query_one(LogView)
    idle = ("follow", "results", "evidence")

    def still() -> bool:
        busy = [w for w in page.workers if w.node is page and w.group in idle and w.is_running]
        reading = [w for w in busy if w.group != "follow" or not asked(page)]
        return not reading and not page._soon and not view.pane._waiting

    await until(pilot, still)


def asked(page: RunScreen) -> bool:
    """It has read what is at home, and listens."""
    fake = page.choline_app.choline
    assert isinstance(fake, RunsFake)
    return bool(fake.of("follow"))


def head_of(page: RunScreen) -> str:
    return page.query_one("#head", Words).told


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_pictures_of_every_state(size: tuple[int, int], shot: Shot) -> None:
    fake = RunsFake(history=history())
    fake.write_log("abc123", "".join(f"epoch {n}/10 loss {1 / n:.3f}\n" for n in range(1, 11)))
    app = make_app(fake)
    async with app.run_test(size=size) as pilot:
        for state, view in STATES.items():
            fake.views[:] = [view]
            fake.asked.clear()
            app.fake_clock.now = NOW
            app.fake_feed.touch()
            page = await opened(app, pilot)
            if state == "collecting":
                progress = {"what": "results", "bytes_done": 4_000_000, "bytes_total": 16_000_000}
                page._hear_progress({**progress, "bytes_done": 1_000_000})
                app.fake_clock.now += 3
                page._hear_progress(progress)
                page._draw()
                await settled(pilot, page)
            name = f"{size[0]}x{size[1]}"
            await picture(shot, pilot, f"runs/page-{state}-{name}", svg=state == "running" and size[0] == 160)
            await pilot.press("escape")
    assert not app.faults


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_pictures_of_every_part(
    size: tuple[int, int], shot: Shot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a relative path: those of this computer are no part of a picture
    monkeypatch.chdir(tmp_path)
    results = Path("results")
    (results / "checkpoints").mkdir(parents=True)
    (results / "checkpoints" / "last.pt").write_bytes(b"x" * 40_000)
    (results / "metrics.json").write_bytes(b"{}")
    failed = Attempt(
        run="abc123", n=1, rental="abc123-1", state=AttemptState.ENDED, created=NOW - 590,
        outcome=Outcome.ERROR,
        reason="the machine was refused: 1 of 2 GPUs does not work",
    )  # fmt: skip
    bad = rental(
        state=RentalState.GONE, gone=NOW - 400, failed=True, evidence=NOW - 410, machine_id=1313,
        release_reason="its check failed",
    )  # fmt: skip
    code = CodeState(
        commit="1a2b3c4d5e6f", branch="main", dirty_count=3, message="first", file_count=7,
        total_bytes=12_300,
        remote="git@example.org:me/project.git", warnings=("data.bin is 90 MB",),
    )  # fmt: skip
    view = RunView(
        run(code=code, plan={"note": "second try", "env": {"WANDB_API_KEY": "secret"}, "ports": ["6006/http"],
                             "results_into": str(results), "tty": True},
            results_synced=NOW - 60),
        [failed, attempt(n=2, started=NOW - 300)],
        [bad, rental(n=2)],
    )  # fmt: skip
    fake = RunsFake(views=[view], history=history())
    evidence = Path(fake.paths.run_dir("abc123")) / "evidence" / "abc123-1"
    evidence.mkdir(parents=True)
    (evidence / "dmesg.txt").write_text("NVRM: Xid 79: GPU has fallen off the bus\n" * 3)
    (evidence / "nvidia-smi.txt").write_text("Unable to determine the device handle\n")
    app = make_app(fake)
    async with app.run_test(size=size) as pilot:
        page = await opened(app, pilot)
        for part, _ in PARTS[1:]:
            await pilot.press("tab")
            await settled(pilot, page)
            assert page.part == part
            text = screen_text(app)
            assert "secret" not in text
            if part in ("timeline", "about"):
                await picture(shot, pilot, f"runs/part-{part}-{size[0]}x{size[1]}")
            elif part == "machines":
                # paths of this computer are no part of a picture
                facts = page.facts("machines")
                assert [f.text for f in facts.facts if f.text.endswith("dmesg.txt")]
                facts.show([f for f in facts.facts if "/" not in f.text or "/h" in f.text])
                await pilot.pause()
                await picture(shot, pilot, f"runs/part-machines-{size[0]}x{size[1]}")
            else:
                assert "checkpoints/last.pt" in text
                assert "40.0 kB" in text
                assert "not complete, came 1m00s ago" in text
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, EvidenceScreen))
        await until(pilot, lambda: len(app.screen.query_one(LogView).sources) == 2)
        await until(pilot, lambda: "Xid 79" in screen_text(app) and "device handle" in screen_text(app))
        await picture(shot, pilot, f"runs/evidence-{size[0]}x{size[1]}")


async def test_without_an_engine_the_page_shows_what_is_at_home(shot: Shot) -> None:
    fake = RunsFake(views=[STATES["running"]], history=history())
    fake.write_log("abc123", "epoch 1\n")
    fake.fails["follow"] = EngineError("it does not run")
    app = make_app(fake, engine=EngineState("down", "it does not run"))
    async with app.run_test(size=(80, 24)) as pilot:
        page = await opened(app, pilot)
        assert "epoch 1" in screen_text(app)
        await picture(shot, pilot, "runs/page-engine-down-80x24")
        assert not app.faults
        del fake.fails["follow"]
        fake.write_log("abc123", "epoch 2\n")
        app.fake_feed.engine = EngineState("up", "")
        app.fake_feed.touch()
        await until(pilot, lambda: "epoch 2" in screen_text(app))
        assert screen_text(app).count("epoch 1") == 1
        await until(pilot, lambda: len(fake.of("follow")) >= 2)
        name, how = fake.of("follow")[-1]
        assert (name, how["after"], how["offsets"]) == ("abc123", 8, {"1/run": 16})
        assert page.log_view.line_count == 2


async def test_what_comes_is_shown_as_it_comes() -> None:
    fake = RunsFake(views=[STATES["running"]], history=history())
    fake.write_log("abc123", "at home\n")
    app = make_app(fake)
    async with app.run_test(size=(160, 50)) as pilot:
        page = await opened(app, pilot)
        fake.told.put_nowait(Followed(log=b"live \x1b[32mgreen\x1b[0m\n", source="run", attempt=1))
        fake.told.put_nowait(Followed(log=b"other machine\n", source="setup", attempt=2))
        fake.told.put_nowait(Followed(event=event(0, "run", "asked the command to end: stopped by you", 9)))
        fake.told.put_nowait(Followed(event=event(0, "run", "asked the command to end: stopped by you", 9)))
        fake.told.put_nowait(Followed(progress={"what": "results", "bytes_done": 5, "bytes_total": 10}))
        await until(pilot, lambda: "live green" in screen_text(app) and "50%" in head_of(page))
        assert page.log_view.sources == ("run", "setup 2")
        text = screen_text(app)
        assert text.count("asked the command to end") == 1
        fake.told.put_nowait(Followed(progress={"what": "results", "bytes_done": 10, "bytes_total": 10}))
        await until(pilot, lambda: "50%" not in head_of(page))
        fake.views[:] = [STATES["succeeded"]]
        fake.write_log("abc123", "live \x1b[32mgreen\x1b[0m\nits last line")
        fake.told.put_nowait(None)
        app.fake_feed.touch()
        await until(pilot, lambda: "its last line" in screen_text(app))
        assert screen_text(app).count("live green") == 1
        assert "succeeded" in head_of(page)


async def test_a_long_log_is_read_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("choline_tui.screens.runs.page.MOST_LOG", 1000)
    fake = RunsFake(views=[STATES["succeeded"]])
    fake.write_log("abc123", "".join(f"line {n:05d}\n" for n in range(500)))
    app = make_app(fake)
    async with app.run_test(size=(160, 50)) as pilot:
        page = await opened(app, pilot)
        text = screen_text(app)
        assert "line 00499" in text
        assert page.log_view.line_count == 92
        page.log_view.pane.action_first()
        await pilot.pause()
        assert "4.5 kB before this" in screen_text(app)


async def test_a_run_that_is_not_there_says_so_and_escape_leaves() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.open_run("nobody")
        await until(pilot, lambda: "there is no run" in screen_text(app))
        for key in ("x", "R", "f", "tab", "v"):
            await pilot.press(key)
        await pilot.press("escape")
        assert not isinstance(app.screen, RunScreen)


async def test_a_fault_while_following_is_told() -> None:
    fake = RunsFake(views=[STATES["running"]])
    fake.fails["follow"] = MarketDown("no [/answer]")
    app = make_app(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        assert [f.message for f in app.faults] == ["no [/answer]"]


async def test_leaving_the_page_ends_the_following() -> None:
    fake = RunsFake(views=[STATES["running"]])
    app = make_app(fake)
    ended = asyncio.Event()

    async def follow(*_: Any, **__: Any) -> Any:
        fake._ask("follow")
        try:
            yield Followed(log=b"x\n", source="run", attempt=1)
            await asyncio.Event().wait()
        finally:
            ended.set()

    fake.follow = follow  # type: ignore[method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(app, pilot)
        await pilot.press("escape")
        await until(pilot, ended.is_set)


async def test_parts_by_keys_mouse_palette_and_jump() -> None:
    fake = RunsFake(views=[STATES["running"]], history=history())
    app = make_app(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        page = await opened(app, pilot)
        assert page.log_view.pane.has_focus
        await pilot.press("shift+tab")
        assert (page.part, page.facts("about").has_focus) == ("about", True)
        await pilot.press("tab")
        assert page.part == "log"
        await pilot.click("#parts", offset=(8, 0))
        assert page.part == "timeline"
        commands = {c.name: c for c in page.palette_commands()}
        await commands["Run: Machines"].run()
        assert page.part == "machines"
        page.query_one("#files").focus()
        await pilot.pause()
        assert page.part == "machines"  # what is hidden takes no focus
        await pilot.resize_terminal(160, 50)
        await pilot.pause()
        page.log_view.pane.focus()
        await pilot.pause()
        assert page.part == "log"
        assert page.facts("timeline").display
        assert page.facts("machines").region.height > 10


async def test_a_command_of_the_palette_goes_to_each_part() -> None:
    fake = RunsFake(views=[RunView(run(), [attempt()], [rental()])])
    app = make_app(fake)
    async with app.run_test(size=(80, 24)) as pilot:
        page = await opened(app, pilot)
        for one in ("run.timeline", "run.machines", "run.results", "run.about", "run.log"):
            await page.run_action(action(one).does)
            await pilot.pause()
            assert page.part == one.partition(".")[2]


async def test_hostile_text_changes_nothing_but_itself() -> None:
    def drawn(text: str) -> tuple[RunView, list[Event]]:
        view = RunView(
            run(reason=text, phase=text, like="x",
                code=CodeState(commit=text, message=text, branch=text, remote=text,
                                                        warnings=(text,)),
                plan={"name": text, "note": text, "command": text, "setup": text, "image": text,
                      "query": text,
                      "env": {text: "v"}, "ports": [text]}),
            [attempt(reason=text)],
            [rental(gpu_name=text, place_name=text, trouble=text, release_reason=text, label=text,
                    seen=Seen(at=NOW, status=text, message=text))],
        )  # fmt: skip
        return view, [event(-5, kind, text, n) for n, kind in enumerate(("run", "rental", "money", text), 1)]

    screens = []
    for text in ("plain", f"[/foo] [bold]{HOSTILE}"):
        view, events = drawn(text)
        fake = RunsFake(views=[view], history=events)
        fake.write_log("abc123", text)
        app = make_app(fake)
        shown = []
        async with app.run_test(size=(80, 24)) as pilot:
            page = await opened(app, pilot)
            for _ in PARTS:
                await pilot.press("tab")
                await settled(pilot, page)
                shown.append(screen_text(app))
            assert not app.faults
        screens.append(shown)
    for clean, hostile in zip(*screens, strict=True):
        assert "\x1b" not in hostile
        assert "\u202e" not in hostile
        # the frame around it stands where it stood
        assert clean.split("\n")[-2] == hostile.split("\n")[-2]
        assert [line for line in clean.split("\n") if line.startswith(" Log")] == [
            line for line in hostile.split("\n") if line.startswith(" Log")
        ]


def test_the_timeline_names_the_day_and_tells_nothing_twice() -> None:
    facts = timeline([*history(), event(1, "run", "x", 20), event(1, "attempt", "x", 21)])
    heads = [fact.text for fact in facts if fact.colour == "head"]
    assert len(heads) == 2
    assert heads[0].startswith("Thursday, 14 January 2027")
    assert sum(fact.text == "x" for fact in facts) == 1
    assert ("07:51:40", "the machine is up", "good") in [(f.lead, f.text, f.colour) for f in facts]


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        ({"what": "results", "bytes_done": 50, "bytes_total": 100},
         "results  ████████          50%  50 B of 100 B, 5 B/s, 10s left"),
        ({"what": "fetching", "bytes_done": 50, "bytes_total": 100, "dollars": 0.0312},
         "fetching  ████████          50%  50 B of 100 B, 5 B/s, 10s left, $0.03 so far"),
        ({"bytes_done": 100, "bytes_total": 100}, ""),
        ({"bytes_done": "a", "bytes_total": None}, ""),
        ({"what": "\x1b[2Jx", "bytes_done": 0, "bytes_total": 1000},
         "x                     0%  0 B of 1.0 kB"),
    ],
)  # fmt: skip
def test_a_transfer_in_a_line(progress: dict[str, Any], line: str) -> None:
    assert progress_line(progress, 0.0, 0, 10.0, ascii=False) == line


async def test_copying_from_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[tuple[str, str]] = []
    fake = RunsFake(views=[STATES["running"]], history=history())
    fake.write_log("abc123", "to copy\n")
    app = make_app(fake)
    monkeypatch.setattr(app, "copy", lambda text, what: copied.append((text, what)))
    async with app.run_test(size=(80, 24)) as pilot:
        page = await opened(app, pilot)
        page.log_view.pane.action_copy()
        await pilot.pause()
        await pilot.press("tab", "ctrl+c")
        await pilot.pause()
        assert "to copy" in copied[0][0]
        assert copied[1][1] == "the timeline"
        assert "07:51:40" in copied[1][0]
        assert isinstance(page.facts("timeline"), Facts)
