"""A run's page: what it is and costs, what it prints, what happened, its machines, what came home.

Log and events come from what lies at home first, so that the page is there whatever the engine does; then
from the engine as they come.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content

from choline_tui.actions import bindings
from choline_tui.kernel.errors import CholineError, EngineError, NotFound
from choline_tui.model.words import clean, size, span
from choline_tui.screens.palette import Command
from choline_tui.screens.runs.actions import PAGE, VERBS
from choline_tui.screens.runs.cells import state_colour
from choline_tui.screens.runs.parts import about, head, machines, progress_line, timeline, warning_lines
from choline_tui.screens.runs.screen import EngineBanner
from choline_tui.screens.runs.verbs import RunVerbs
from choline_tui.screens.states import LOADING, StatePanel, Step, state_for
from choline_tui.services.at_home import FileAtHome, Folder, files_in
from choline_tui.widgets.clicks import Clickable, doing
from choline_tui.widgets.columns import Column
from choline_tui.widgets.facts import Facts
from choline_tui.widgets.glyphs import glyph
from choline_tui.widgets.log_view import LogView
from choline_tui.widgets.table import Table
from choline_tui.widgets.words import Words

if TYPE_CHECKING:
    from choline_tui.model.run import Event
    from choline_tui.services.choline import Followed, RunView
    from choline_tui.services.feed import Snapshot

__all__ = ["PARTS", "RunScreen"]

PARTS = (("log", "Log"), ("timeline", "Timeline"), ("machines", "Machines"), ("results", "Results"),
         ("about", "About"))  # fmt: skip
TICK = 1.0
SOON = 0.1
"""s in which what came is gathered before it is drawn"""
CHUNK = 256 << 10
MOST_LOG = 48 << 20
"""bytes of a log at home that are read; of longer ones, their end"""
SOURCES = ("setup", "run")


class Parts(Clickable):
    """The names of the page's parts, the one in front marked."""

    DEFAULT_CSS = "Parts { height: 1; width: 1fr; background: $panel; }"
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._now = ("", dict[str, str]())

    def tell(self, part: str, counts: dict[str, str]) -> None:
        if (part, counts) != self._now:
            self._now = (part, counts)
            self.refresh()

    def render(self) -> Content:
        part, counts = self._now
        line = Content("")
        for key, label in PARTS:
            count = f" {counts[key]}" if counts.get(key) else ""
            style = "bold reverse $accent" if key == part else "$muted"
            line += doing(Content.styled(f" {label}{count} ", style), f"screen.show_part({key!r})")
        return line


class RunScreen(RunVerbs):
    WHERE = "runs"
    BINDINGS = [  # noqa: RUF012
        *bindings("run", PAGE),
        *bindings("runs", VERBS),
        Binding("E", "app.start_engine", "Start the engine", show=False, id="run.engine"),
    ]
    DEFAULT_CSS = """
    RunScreen #head { height: auto; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    RunScreen #alarms { height: auto; max-height: 6; width: 1fr; padding: 0 1; display: none; }
    RunScreen #alarms.-there { display: block; }
    RunScreen #parts-box { height: 1fr; width: 1fr; }
    RunScreen #side { width: 1fr; height: 1fr; display: none; }
    RunScreen #log-box { width: 1fr; height: 1fr; display: none; }
    RunScreen.-part-log #log-box { display: block; }
    RunScreen.-part-side #side { display: block; }
    RunScreen.-wide #side, RunScreen.-wide #log-box { display: block; }
    RunScreen.-wide #side { width: 44%; max-width: 84; border-right: vkey $border-blurred; }
    RunScreen .part { display: none; height: 1fr; }
    RunScreen .part.-there { display: block; }
    RunScreen #log-says, RunScreen #results-says {
        height: 1; width: 1fr; color: $muted; text-wrap: nowrap; text-overflow: ellipsis;
    }
    """

    def __init__(self, run: str) -> None:
        # in front at first: classes that are there from the start cost no second layout
        super().__init__(classes="-part-log")
        self.run_id = run
        self.view: RunView | None = None
        self.part = "log"
        self._side = "timeline"
        self._events: list[Event] = []
        self._seen = 0
        """``seq`` of the last event"""
        self._offsets: dict[str, int] = {}
        """bytes of each log (``attempt/source``) that are on the screen"""
        self._following = False
        self._done = False
        """nothing will happen to it any more, and all of it is here"""
        self._progress: tuple[dict[str, Any], float, int] | None = None
        """a transfer under way: as last told, when and at how many bytes it began"""
        self._kept: dict[str, Folder] = {}
        self._folder: Folder | None = None
        self._synced: float | None = -1.0
        self._looking = False
        self._soon = False

    # ------------------------------------------------------------------------------------ composition

    def compose_body(self) -> ComposeResult:
        yield EngineBanner(id="banner")
        yield Words(id="head")
        yield Words(id="alarms")
        yield Parts(id="parts")
        with Horizontal(id="parts-box"):
            with Vertical(id="side"):
                yield Facts(follow=True, empty="Nothing happened yet.", id="timeline").add_class("part")
                yield Facts(empty="No machine was rented for it.", id="machines").add_class("part")
                with Vertical(id="results", classes="part"):
                    yield Words(fixed=True, id="results-says")
                    yield Table(
                        _file_columns(lambda: self.now), key=lambda file: file.path,
                        empty=self._no_results, id="files",
                    )  # fmt: skip
                yield Facts(id="about").add_class("part")
            with Vertical(id="log-box"):
                yield LogView(empty="Nothing was printed yet.", id="log")
                yield Words(fixed=True, id="log-says")
        yield StatePanel(LOADING, id="state")

    @property
    def log_view(self) -> LogView:
        return self.query_one("#log", LogView)

    @property
    def files(self) -> "Table[FileAtHome]":
        return self.query_one("#files", Table)

    def facts(self, part: str) -> Facts:
        return self.query_one(f"#{part}", Facts)

    def on_mount(self) -> None:
        super().on_mount()
        self._show_state(True)
        self._arrange()
        self.set_interval(TICK, self._tick)

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._begin()

    def _show_state(self, loading: bool) -> None:
        self.query_one("#state", StatePanel).show(LOADING if loading else None)
        for name in ("#head", "#parts", "#parts-box"):
            self.query_one(name).display = not loading

    def _fail_state(self, error: CholineError) -> None:
        self._show_state(True)
        steps = (Step("esc", "back to the runs", "screen.back"), *state_for(error).steps)
        self.query_one("#state", StatePanel).show(state_for(error).but(steps=steps))

    # ------------------------------------------------------------------------------------------- live

    def chosen_views(self) -> "list[RunView]":
        return [self.view] if self.view is not None else []

    def open_run(self, run: str) -> None:
        """Another run's page instead of this one."""
        if run != self.run_id:
            self.app.switch_screen(RunScreen(run))

    def on_snapshot(self, snapshot: "Snapshot") -> None:
        self.query_one(EngineBanner).tell(snapshot)
        self._take(next((v for v in snapshot.runs if v.run.id == self.run_id), None))
        if snapshot.engine.state == "up":
            self._begin()

    def _take(self, view: "RunView | None") -> None:
        if view is None:
            # started a moment ago, or taken out of the lists: the store knows
            try:
                view = self.choline_app.choline.show(self.run_id)
            except CholineError as error:
                if self.view is None:
                    self._fail_state(error)
                return
        if view is self.view:
            self._draw_soon()
            return
        first = self.view is None
        self.view = view
        if first:
            self._show_state(False)
            self._focus_part()
        self._draw()
        self._look_at_evidence(view)
        if view.run.results_synced != self._synced:
            self._look_at_results()

    def _begin(self) -> None:
        """Read what is at home, then follow; once at a time, and not when there is nothing to come."""
        if self._following or self._done or self.view is None:
            return
        self._following = True
        self.run_worker(self._follow(), group="follow", exclusive=True, exit_on_error=False)

    async def _follow(self) -> None:
        doing = f"following {self.run_id}"
        try:
            await self._read_home()
            view = self.view
            if view is not None and view.gone:
                self._end()
                return
            stream = self.choline_app.choline.follow(
                self.run_id, history=False, after=self._seen, offsets=dict(self._offsets)
            )
            # closed here and now, not when somebody sweeps up: the engine is told to stop
            async with contextlib.aclosing(stream) as items:
                async for item in items:
                    self._hear(item)
            await self._read_home()
            self._end()
        except EngineError:
            pass  # the banner says so; the next picture with an engine that runs begins anew
        except NotFound:
            self._done = True
        except Exception as error:
            self.choline_app.fail(error, doing)
        finally:
            self._following = False
            self._progress = None
            self._draw_soon()

    def _end(self) -> None:
        self._done = True
        for source in self.log_view.sources:
            self.log_view.finish(source)

    async def _read_home(self) -> None:
        """Events and logs that are not on the screen yet."""
        choline = self.choline_app.choline
        with contextlib.suppress(NotFound):
            for event in choline.events(self.run_id, after=self._seen):
                self._add(event)
        view = self.view
        for attempt in view.attempts if view is not None else ():
            for source in SOURCES:
                await self._read_log(attempt.n, source, choline.log_file(self.run_id, attempt.n, source))
        self._draw_soon()

    async def _read_log(self, attempt: int, source: str, file: Path) -> None:
        name = f"{attempt}/{source}"
        begun = name in self._offsets
        at = self._offsets.get(name, 0)
        while True:
            data, start = await asyncio.to_thread(_piece, file, at, begun)
            if not data:
                return
            begun, at = True, start + len(data)
            if start and self._offsets.get(name, 0) == 0:
                self._feed(attempt, source, f"... {size(start)} before this are in {file}\n".encode())
            self._offsets[name] = at
            self._feed(attempt, source, data)

    def _feed(self, attempt: int, source: str, data: bytes) -> None:
        self.log_view.feed(source if attempt == 1 else f"{source} {attempt}", data)

    def _hear(self, item: "Followed") -> None:
        if item.event is not None:
            self._add(item.event)
        elif item.progress is not None:
            self._hear_progress(item.progress)
        elif item.run is None:
            name = f"{item.attempt}/{item.source}"
            self._offsets[name] = self._offsets.get(name, 0) + len(item.log)
            self._feed(item.attempt, item.source, item.log)
            return
        self._draw_soon()

    def _add(self, event: "Event") -> None:
        if event.seq is None or event.seq > self._seen:
            self._seen = event.seq or self._seen
            self._events.append(event)

    def _hear_progress(self, progress: dict[str, Any]) -> None:
        done = progress.get("bytes_done")
        count = done if isinstance(done, int) else 0
        known = self._progress
        if known is None or known[0].get("what") != progress.get("what") or count < known[2]:
            self._progress = (progress, self.choline_app.clock.monotonic(), count)
        else:
            self._progress = (progress, known[1], known[2])

    # ---------------------------------------------------------------------------------------- drawing

    def _draw_soon(self) -> None:
        """However much comes, it is drawn ten times a second at most."""
        if not self._soon and self.is_mounted:
            self._soon = True
            self.set_timer(SOON, self._draw)

    def _tick(self) -> None:
        if self.app.screen is self and self.view is not None and not self.view.gone:
            self._draw()

    def _draw(self) -> None:
        self._soon = False
        view = self.view
        if view is None or not self.is_mounted:
            return
        ascii, now = self.choline_app.ascii, self.now
        lines = head(view, now, colour=state_colour(view.run), ascii=ascii, doing=self._under_way())
        ports = [each.ports for each in self.forwards.of(view.run.id)]
        if ports:
            lines.append([(f" {glyph('info', ascii)} forwarded here: {', '.join(ports)}", "$text-accent")])
        self.query_one("#head", Words).tell(_content(lines))
        warnings = warning_lines(view, now, ascii=ascii)
        alarms = self.query_one("#alarms", Words)
        if alarms.has_class("-there") != bool(warnings):
            alarms.set_class(bool(warnings), "-there")
        alarms.tell(_content(warnings))
        shown = self._shown()
        if "timeline" in shown:
            self.facts("timeline").show(timeline(self._events))
        if "machines" in shown:
            self.facts("machines").show(machines(view, self._kept, now))
        if "about" in shown:
            self.facts("about").show(about(view, now))
        self._tell_parts()
        self._tell_log()

    def _under_way(self) -> str:
        if self._progress is None:
            return ""
        progress, began, start = self._progress
        now = self.choline_app.clock.monotonic()
        return progress_line(progress, began, start, now, ascii=self.choline_app.ascii)

    def _tell_parts(self) -> None:
        view = self.view
        counts = {
            "timeline": str(len(self._events)) if self._events else "",
            "machines": str(len(view.rentals)) if view is not None and view.rentals else "",
            "results": "",
        }
        if self._folder is not None and self._folder.files:
            counts["results"] = f"{len(self._folder.files)}{'+' if self._folder.more else ''}"
        self.query_one(Parts).tell(self.part, counts)

    def _tell_log(self) -> None:
        log, ascii = self.log_view, self.choline_app.ascii
        parts = [f"{log.line_count:,} line{'' if log.line_count == 1 else 's'}"]
        if log.dropped:
            parts.append(f"{log.dropped:,} older ones dropped")
        if log.pane.lost_bytes:
            parts.append(f"{size(log.pane.lost_bytes)} came too fast and were left out")
        parts.append("following" if log.following else "End follows")
        if len(log.sources) > 1:
            parts.append(f"s: {log.source or 'all of ' + ', '.join(log.sources[:4])}")
        parts.append("w: wrapped" if log.wrap else "w wraps")
        parts.append((log.found_words and f"/{log.pane.needle}: {log.found_words}") or "/ searches")
        if not self._following and not self._done and self.view is not None and not self.view.gone:
            parts.append("as it came home: not live")
        separator = f" {glyph('separator', ascii)} "
        self.query_one("#log-says", Words).tell(Content(" " + clean(separator.join(parts), 400)))

    def on_log_view_state_changed(self) -> None:
        self._draw_soon()

    def on_log_view_copy_requested(self, event: LogView.CopyRequested) -> None:
        self.choline_app.copy(event.text, event.what)

    def on_facts_copy_requested(self, event: Facts.CopyRequested) -> None:
        self.choline_app.copy(event.text, f"the {event.facts.id}")

    # ------------------------------------------------------------------------------- at home: files

    def fetched(self) -> None:
        self._look_at_results()

    def forwards_changed(self) -> None:
        self._draw_soon()

    def removed(self, runs: list[str]) -> None:
        if self.run_id in runs and self.app.screen is self:
            self.action_back()

    def action_refresh(self) -> None:
        super().action_refresh()
        self._look_at_results()

    def _look_at_results(self) -> None:
        view = self.view
        if view is None or self._looking:
            return
        self._synced = view.run.results_synced
        folder = view.run.plan.results_into
        if not folder:
            self._tell_results(Folder(""))
            return

        async def look() -> None:
            try:
                found = await asyncio.to_thread(files_in, Path(folder))
            finally:
                self._looking = False
            self._tell_results(found)

        self._looking = True
        self.run_worker(look(), group="results", exit_on_error=False)

    def _tell_results(self, folder: Folder) -> None:
        self._folder = folder
        self.files.set_records(folder.files)
        view = self.view
        state = ""
        if view is not None and view.run.results_synced is not None:
            whole = "complete" if view.run.results_complete else "not complete"
            state = f"{whole}, came {span(self.now - view.run.results_synced)} ago"
        count = f"{len(folder.files)}{'+' if folder.more else ''} files, {size(folder.total)}"
        parts = [count if folder.files else "", state, clean(folder.path, 1000)]
        separator = f" {glyph('separator', self.choline_app.ascii)} "
        text = separator.join(part for part in parts if part)
        self.query_one("#results-says", Words).tell(Content(f" {text}"))
        self._tell_parts()

    def _no_results(self) -> str:
        if self.view is None or self.view.run.results_synced is None:
            return "No results came home yet.\nf fetches what there is."
        return "Results came home, and none are in the folder.\nf5 looks again."

    def _look_at_evidence(self, view: "RunView") -> None:
        wanted = [r.id for r in view.rentals if r.evidence is not None and r.id not in self._kept]
        if not wanted:
            return
        top = self.choline_app.choline.paths.run_dir(view.run.id) / "evidence"

        async def look() -> None:
            for rental in wanted:
                self._kept[rental] = await asyncio.to_thread(files_in, top / rental)
            self._draw_soon()

        self.run_worker(look(), group="evidence", exit_on_error=False)

    def action_evidence(self) -> None:
        kept = [(name, folder) for name, folder in self._kept.items() if folder.files]
        if not kept:
            self.choline_app.fail(
                NotFound("no evidence was kept", hint="It is kept of machines that failed."),
                "showing evidence",
            )
            return
        from choline_tui.screens.runs.evidence import EvidenceScreen

        self.app.push_screen(EvidenceScreen(kept))

    # ----------------------------------------------------------------------------------------- parts

    def action_back(self) -> None:
        self.app.pop_screen()

    def action_part(self, by: int) -> None:
        names = [name for name, _ in PARTS]
        self.action_show_part(names[(names.index(self.part) + by) % len(names)])

    def action_show_part(self, part: str) -> None:
        self.part = part
        if part != "log":
            self._side = part
        self.set_class(part == "log", "-part-log")
        self.set_class(part != "log", "-part-side")
        self._arrange()
        self._draw()
        self._tell_parts()
        if self.view is not None:
            self._focus_part()

    def _shown(self) -> tuple[str, ...]:
        """The parts beside the log that are on the screen; where there is room, timeline and machines are."""
        both = ("timeline", "machines")
        roomy = self.has_class("-wide") and self.has_class("-tall")
        return both if roomy and self._side in both else (self._side,)

    def _arrange(self) -> None:
        shown = self._shown()
        # a query that finds nothing is fine: the app may be leaving while this page comes
        for part in self.query(".part"):
            part.set_class(part.id in shown, "-there")

    def on_resize(self) -> None:
        if self.view is not None:
            # the classes that say how much room there is come after this
            self.call_after_refresh(self._arrange)
            self._draw_soon()

    def _focus_part(self) -> None:
        wanted = {"log": self.log_view.pane, "results": self.files}.get(self.part)
        (wanted or self.facts(self.part)).focus()

    def on_descendant_focus(self, event: Any) -> None:
        """A click, or jump mode, goes to a part as tab does."""
        names = {name for name, _ in PARTS}
        for node in event.widget.ancestors_with_self:
            name = {"log-box": "log"}.get(node.id or "", node.id or "")
            if name in names:
                if name != self.part:
                    self.action_show_part(name)
                return

    def palette_commands(self) -> list[Command]:
        return [
            Command(f"Run: {a.label}", a.help, lambda does=a.does: self.run_action(does))  # type: ignore[misc]
            for a in PAGE
            if not a.keys
        ]


def _content(lines: "list[list[tuple[str, str]]]") -> Content:
    drawn = (Content("").join(Content.styled(text, style) for text, style in line) for line in lines)
    return Content("\n").join(drawn)


def _piece(file: Path, at: int, begun: bool) -> tuple[bytes, int]:
    """A piece of a log and where it begins; of a long one that is read from its start, its end. Blocks."""
    try:
        with file.open("rb") as log:
            if not begun:
                log.seek(0, 2)
                at = max(at, log.tell() - MOST_LOG)
            log.seek(at)
            return log.read(CHUNK), at
    except OSError:
        return b"", at


def _file_columns(now: Any) -> "list[Column[FileAtHome]]":
    return [
        Column("path", "File", 20, lambda f: f.path, lambda f: f.path, grow=1, help="In the results"),
        Column("size", "Size", 9, lambda f: f.size, lambda f: size(f.size), right=True, help="As at home"),
        Column("changed", "Changed", 8, lambda f: now() - f.changed, lambda f: f"{span(now() - f.changed)}",
               right=True, priority=1, help="How long ago"),
    ]  # fmt: skip
