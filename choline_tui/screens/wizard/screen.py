"""The wizard (``i``, and ``choline init``): step by step through a project, to its ``choline.toml``."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Button, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from choline_tui.actions import bindings
from choline_tui.kernel.errors import CholineError, UsageError
from choline_tui.model.words import clean
from choline_tui.screens.base import MainScreen
from choline_tui.screens.dialogs import Confirm
from choline_tui.screens.states import LOADING, StatePanel, state_for
from choline_tui.screens.wizard.actions import ACTIONS
from choline_tui.screens.wizard.fields import (
    Changed,
    FactLines,
    Facts,
    Forward,
    Line,
    LineField,
    LineInput,
    Paged,
    TickField,
    TickList,
)
from choline_tui.screens.wizard.steps import STEPS, TEMPLATE, Spec, Step
from choline_tui.screens.wizard.toml_area import TomlArea
from choline_tui.widgets.glyphs import glyph

if TYPE_CHECKING:
    from choline_tui.services.project_check import Problem
    from choline_tui.services.setup import Draft

__all__ = ["Wanted", "WizardScreen"]

SOON = 0.05
"""s after a key when the file beside the form is drawn anew, and what is typed is checked"""
REVIEW = "review"
MOST_PROBLEMS = 6
READ_ONLY = "F2 opens the settings: ui.readonly."


@dataclass(frozen=True)
class Wanted:
    """``directory``: the project, None for that of the current directory. ``flags``: answers by key.
    ``history``: shells' histories may be read. ``once``: the app ends with the wizard."""

    directory: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)
    history: bool = False
    schema: bool = True
    template: tuple[str, Mapping[str, Any]] | None = None
    once: bool = False


class StepList(Paged):
    """The steps; the arrows go through them, enter goes into one."""

    HELP_TITLE = "Steps"


class WizardScreen(MainScreen):
    WHERE = "wizard"
    BINDINGS = bindings("wizard", ACTIONS)
    AUTO_FOCUS = ""
    HELP = (
        "Every answer is filled in with what was found. Nothing of the project is run, and nothing is "
        "written before you save."
    )

    def __init__(self) -> None:
        super().__init__()
        self.draft: Draft | None = None
        self.at = 0
        self.seen_steps: set[int] = set()
        self.choosing = False
        """the offers screen is open to choose hardware"""
        self.shown_at = -1
        """the step whose lines are on the screen"""
        self._timer: Timer | None = None
        self._pending = False
        self._problems: list[Problem] = []

    # ------------------------------------------------------------------------------------- composing

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="wizard"):
            with Vertical(id="wizard-left"):
                yield StepList(id="wizard-steps", compact=True)
            with Vertical(id="wizard-main"):
                yield Static("", id="wizard-title", markup=False)
                yield VerticalScroll(id="wizard-form", can_focus=False)
                with Vertical(id="wizard-review"):
                    yield TomlArea(id="wizard-text")
                    yield Static("", id="wizard-problems", markup=False)
                yield StatePanel(LOADING.but(title="Looking at the project"), id="wizard-state")
            with Vertical(id="wizard-side"):
                yield Static("", id="wizard-side-title", markup=False)
                side = TomlArea(id="wizard-preview", read_only=True)
                side.can_focus = False
                side.show_cursor = False
                yield side

    def on_mount(self) -> None:
        super().on_mount()
        self._show_state(LOADING.but(title="Looking at the project"))

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self.draft is None:
            self.look()

    @property
    def steps(self) -> tuple[Step | None, ...]:
        """None is the review."""
        first = (TEMPLATE,) if self.draft is not None and self.draft.templates else ()
        return (*first, *STEPS, None)

    @property
    def step(self) -> Step | None:
        return self.steps[self.at]

    @property
    def reviewing(self) -> bool:
        return self.draft is not None and self.step is None

    # --------------------------------------------------------------------------------------- looking

    @work(exclusive=True, group="wizard-look", exit_on_error=False, description="looking at the project")
    async def look(self) -> None:
        """Look at the project, in a thread: the screen never waits."""
        wanted: Wanted = self.choline_app.wanted
        self._show_state(LOADING.but(title="Looking at the project", text="Files, packages, data, git."))
        environ = self.choline_app.environ

        def find() -> "Draft":
            from choline_tui.config.project import find_project
            from choline_tui.services.setup import Draft
            from choline_tui.services.templates import named_templates

            directory = wanted.directory or find_project(Path.cwd()) or Path.cwd()
            seen = self.choline_app.look_at(directory, environ, history=wanted.history)
            draft = Draft(directory, seen, flags=wanted.flags, schema=wanted.schema)
            draft.templates = {each.name: each for each in named_templates(environ)}
            return draft

        try:
            draft = await asyncio.to_thread(find)
        except CholineError as error:
            self.choline_app.fail(error, "looking at the project")
            self._show_state(state_for(error))
            return
        if wanted.template is not None:
            draft.apply(*wanted.template)
        self.draft, self.at, self.shown_at = draft, 0, -1
        self.seen_steps = set()
        self._show_state(None)
        self.show()

    def _show_state(self, state: Any) -> None:
        self.query_one("#wizard-state", StatePanel).show(state)
        for each in ("#wizard-form", "#wizard-review", "#wizard-title"):
            self.query_one(each).display = state is None
        self.query_one("#wizard-left").display = state is None
        self.query_one("#wizard-side").set_class(state is not None, "-away")

    # ---------------------------------------------------------------------------------- going about

    def go_to(self, at: int) -> None:
        """Another step; from the review only when what is typed there can be read."""
        if self.draft is None or not 0 <= at < len(self.steps) or at == self.at:
            return
        if self.reviewing and not self._take_text():
            self._say_steps()
            return
        self.at = at
        self.show()

    def show(self, *, focus: bool = True) -> None:
        draft = self.draft
        if draft is None:
            return
        self.seen_steps.add(self.at)
        self._pending = True
        self._say_steps()
        self._say_title()
        review = self.reviewing
        self.query_one("#wizard-form").display = not review
        self.query_one("#wizard-review").display = review
        self.query_one("#wizard-side").set_class(review, "-away")
        self._draw_step(focus)

    @work(exclusive=True, group="wizard-step", exit_on_error=False, description="drawing a step")
    async def _draw_step(self, focus: bool) -> None:
        draft, step = self.draft, self.step
        if draft is None:
            return
        if step is None:
            area = self.query_one("#wizard-text", TomlArea)
            with area.prevent(TextArea.Changed):
                area.load_text(self._file())
            self.shown_at = self.at
            self._pending = True
            if focus:
                area.focus()
            self._check()
            self.refresh_bindings()
            return
        form = self.query_one("#wizard-form", VerticalScroll)
        with self.app.batch_update():
            await form.remove_children()
            await form.mount_all([*_widgets(step.build(draft)), self._doors()])
            form.scroll_home(animate=False)
        self.shown_at = self.at
        if focus:
            self._focus_first()
        self._preview()
        self.refresh_bindings()

    def _doors(self) -> Widget:
        after = self.steps[self.at + 1]
        name = after.title if after is not None else "Review"
        buttons = [Button(Content(f"Next: {name}"), id="wizard-next", compact=True)]
        if self.at:
            buttons.insert(0, Button(Content("Back"), id="wizard-back", compact=True))
        if self.step is not None and self.step.id == "hardware":
            buttons.append(Button(Content("Choose on the market"), id="wizard-market", compact=True))
        return Horizontal(*buttons, id="wizard-doors")

    def _focus_first(self) -> None:
        form = self.query_one("#wizard-form")
        first = next((w for w in form.query(Widget) if _asks(w)), None)
        if first is not None:
            first.focus(scroll_visible=False)

    def _say_title(self) -> None:
        step, draft = self.step, self.draft
        if draft is None:
            return
        title, about = (
            (step.title, step.about) if step is not None else ("Review", "choline.toml, to edit and save")
        )
        where = clean(draft.directory.name, 40)
        line = Content.styled(title, "bold $accent") + Content.styled(f"  {about}", "$muted")
        self.query_one("#wizard-title", Static).update(line)
        self.query_one("#wizard-left").border_title = Content(where)

    def _say_steps(self) -> None:
        """The list of steps: which one this is, which were seen, where something is wrong."""
        box = self.query_one("#wizard-steps", StepList)
        with box.prevent(OptionList.OptionHighlighted):
            drawn = [Option(self._step_line(n)) for n in range(len(self.steps))]
            if box.option_count == len(drawn):
                for n, each in enumerate(drawn):
                    box.replace_option_prompt_at_index(n, each.prompt)
            else:
                box.clear_options()
                box.add_options(drawn)
            box.highlighted = self.at

    def _step_line(self, n: int) -> Content:
        step, draft, ascii = self.steps[n], self.draft, self.choline_app.ascii
        title = step.title if step is not None else "Review"
        wrong = draft is not None and bool(set(draft.wrong) & set(step.keys if step is not None else ()))
        if wrong:
            return Content.styled(f"{glyph('warn', ascii)} {title}", "$text-error")
        if n == self.at:
            return Content.styled(f"{glyph('cursor', ascii)} {title}", "bold")
        if n in self.seen_steps:
            return Content.styled(f"{glyph('good', ascii)} ", "$text-success") + Content(title)
        return Content.styled(f"{glyph('info', ascii)} ", "$muted") + Content(title)

    @on(OptionList.OptionHighlighted, "#wizard-steps")
    def _step_browsed(self, event: OptionList.OptionHighlighted) -> None:
        if self.query_one("#wizard-steps").has_focus and event.option_index != self.at:
            if self.reviewing and not self._take_text():
                self._say_steps()
                return
            self.at = event.option_index
            self.show(focus=False)

    @on(OptionList.OptionSelected, "#wizard-steps")
    def _step_chosen(self, event: OptionList.OptionSelected) -> None:
        if event.option_index != self.at:
            self.go_to(event.option_index)
        elif self.reviewing:
            self.query_one("#wizard-text").focus()
        else:
            self._focus_first()

    @on(Button.Pressed)
    def _door(self, event: Button.Pressed) -> None:
        event.stop()
        match event.button.id:
            case "wizard-next":
                self.action_step(1)
            case "wizard-back":
                self.action_step(-1)
            case "wizard-market":
                self.action_market()

    @on(Forward)
    def _forward(self) -> None:
        """Enter: the next line; from the last one, the next step."""
        form = self.query_one("#wizard-form")
        asking = [w for w in form.query(Widget) if _asks(w)]
        at = next((n for n, w in enumerate(asking) if w.has_focus), None)
        if at is not None and at + 1 < len(asking):
            asking[at + 1].focus()
        else:
            self.action_step(1)

    def action_step(self, by: int) -> None:
        self.go_to(self.at + by)

    def action_review(self) -> None:
        self.go_to(len(self.steps) - 1)

    # --------------------------------------------------------------------------------------- answers

    @on(Changed)
    def _changed(self, event: Changed) -> None:
        draft = self.draft
        event.stop()
        if draft is None or self.shown_at != self.at:
            return
        key = event.key
        if key == "template":
            wrong = self._put_template(draft, event.value)
        elif key == "vram":
            wrong = self._put_vram(draft, event.value)
        elif key == "env":
            wrong = self._put_env(draft, event.value)
        elif key in ("type", "tty", "environment.from", "code.clone"):
            wrong = draft.put(key, event.value[0] if event.value else None)
        else:
            wrong = draft.put(key, event.value)
        event.field.tell(wrong)
        if isinstance(event.field, LineField) and key != "vram":
            event.field.say_where(draft.where(key))
        self._say_steps()
        self._tell_facts(draft)
        self._later()

    def _tell_facts(self, draft: "Draft") -> None:
        """What depends on the answers."""
        for spec in self.step.build(draft) if self.step is not None else ():
            if isinstance(spec, Facts) and spec.id:
                self.query_one(f"#{spec.id}", FactLines).tell(spec.lines)

    def _put_template(self, draft: "Draft", names: list[str]) -> str:
        template = draft.templates[names[0]] if names else None
        if template is not None and template.wrong:
            return template.wrong
        draft.apply(template.name if template else "", template.flat() if template else {})
        return ""

    def _put_vram(self, draft: "Draft", typed: str) -> str:
        """The line's number becomes a condition of the query, whose line shows it."""
        from choline_tui.services.hardware import vram_of, with_vram

        query = draft.typed("query")
        if typed.strip() == vram_of(query):
            return ""
        try:
            query = with_vram(query, typed)
        except CholineError as error:
            return error.message
        self.query_one("#field-query", LineInput).value = query
        return ""

    def _put_env(self, draft: "Draft", items: list[str]) -> str:
        wanted: dict[str, str] = {}
        for item in items:
            name, equals, value = item.partition("=")
            if not equals:
                return f"{clean(item, 40)!r} has no value: write NAME=VALUE"
            wanted[name.strip()] = value
        for name in draft.env():
            if name not in wanted:
                draft.put_env(name, None)
        for name, value in wanted.items():
            if wrong := draft.put_env(name, value):
                return wrong
        return ""

    def _later(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._pending = True
        self._timer = self.set_timer(SOON, self._check if self.reviewing else self._preview)

    def _waits(self) -> bool:
        """What was typed is not yet checked, or not yet in the file beside the form."""
        return self._pending

    def _file(self) -> str:
        """The file as it would be written."""
        draft = self.draft
        if draft is None:
            return ""
        try:
            return draft.text()
        except CholineError as error:
            self.choline_app.fail(error, "writing the answers down")
            return draft.seen.text or ""

    def _preview(self) -> None:
        """The file beside the form, at what this step asks."""
        draft, step = self.draft, self.step
        if draft is None or step is None or self.size.width < 140:
            self._pending = False
            return
        self._pending = True
        text = self._file()
        area = self.query_one("#wizard-preview", TomlArea)
        if area.text != text:
            area.load_text(text)
        # where a line is drawn is known once the text is wrapped
        self.call_after_refresh(self._scroll_preview, step)
        state = "new" if draft.new else "as it would be"
        title = Content.styled("choline.toml", "bold") + Content.styled(f"  {state}", "$muted")
        self.query_one("#wizard-side-title", Static).update(title)

    def _scroll_preview(self, step: Step) -> None:
        if step is not self.step:
            return
        area = self.query_one("#wizard-preview", TomlArea)
        lines = [line for key in step.keys if (line := _line_of(area.text, key)) is not None]
        if lines:
            row = area.wrapped_document.location_to_offset((min(lines), 0)).y
            area.scroll_to(y=max(0, row - area.size.height // 3), animate=False)
        self._pending = False

    def on_resize(self) -> None:
        self.call_after_refresh(self._preview)

    # ---------------------------------------------------------------------------------------- review

    @on(TextArea.Changed, "#wizard-text")
    def _edited(self) -> None:
        if self.reviewing:
            self._later()

    @work(exclusive=True, group="wizard-check", exit_on_error=False, description="checking the file")
    async def _check(self) -> None:
        draft = self.draft
        if draft is None:
            return
        area = self.query_one("#wizard-text", TomlArea)
        text = area.text
        problems = await asyncio.to_thread(draft.check, text)
        if area.text == text:
            self._pending = False
            self._problems = problems
            self._say_problems()

    def _say_problems(self) -> None:
        draft = self.draft
        if draft is None:
            return
        ascii = self.choline_app.ascii
        lines = []
        for key, (_, message) in draft.wrong.items():
            lines.append(Content.styled(f"{glyph('bad', ascii)} {key}: {clean(message, 300)}", "$text-error"))
        for each in self._problems:
            place = f"line {each.line}: " if each.line else ""
            named = not each.key or each.message.startswith(f"{each.key}:")
            key = "" if named else f"{each.key}: "
            sign, tone = ("bad", "$text-error") if each.fatal else ("warn", "$text-warning")
            head = Content.styled(f"{glyph(sign, ascii)} {place}{key}{clean(each.message, 300)}", tone)
            lines.append(head + Content.styled(f"  {clean(each.hint, 200)}" if each.hint else "", "$muted"))
        if not lines:
            lines.append(Content.styled(f"{glyph('good', ascii)} right; ctrl+s writes it", "$text-success"))
        more = len(lines) - MOST_PROBLEMS
        if more > 0:
            lines = [*lines[:MOST_PROBLEMS], Content.styled(f"and {more} more", "$muted")]
        self.query_one("#wizard-problems", Static).update(Content("\n").join(lines))
        marked = next((p.line - 1 for p in self._problems if p.fatal and p.line), None)
        self.query_one("#wizard-text", TomlArea).mark(marked)

    def _take_text(self) -> bool:
        """What was edited by hand is what counts; False, and why is said, when it cannot be read."""
        draft = self.draft
        if draft is None:
            return False
        text = self.query_one("#wizard-text", TomlArea).text
        try:
            draft.take_text(text)
        except CholineError as error:
            problem = UsageError(error.message, hint="Put it right first, or take it back with ctrl+z.")
            self.choline_app.fail(problem, "reading what you edited")
            return False
        return True

    @property
    def unsaved(self) -> bool:
        draft = self.draft
        if draft is None:
            return False
        if self.reviewing:
            area = self.query_one("#wizard-text", TomlArea)
            return draft.touched or area.text != self._file()
        return draft.touched

    def action_save(self) -> None:
        draft = self.draft
        if draft is None:
            return
        if self.choline_app.readonly:
            self.choline_app.fail(
                UsageError("this choline is read-only", hint=READ_ONLY), "writing choline.toml"
            )
            return
        if not self.reviewing:
            self.action_review()
            return
        if self._take_text():
            self._save(self.query_one("#wizard-text", TomlArea).text)

    @work(exclusive=True, group="wizard-save", exit_on_error=False, description="writing choline.toml")
    async def _save(self, text: str) -> None:
        draft = self.draft
        if draft is None:
            return
        try:
            file = await asyncio.to_thread(draft.save, text)
        except CholineError as error:
            self.choline_app.fail(error, "writing choline.toml")
            return
        if self.choline_app.wanted.once:
            self.app.exit("saved")
            return
        self.choline_app.say(f"{clean(str(file), 200)} written: R on an offer runs it")
        self._close()

    # ---------------------------------------------------------------------------- leaving, hardware

    def _close(self) -> None:
        """Away; the next time begins anew."""
        self.draft, self.at, self.choosing = None, 0, False
        self.app.switch_mode(self.choline_app.came_from or "offers")

    @work(exclusive=True, group="wizard-leave", exit_on_error=False)
    async def action_leave(self) -> None:
        if self.unsaved:
            lines = ["What you answered is not written anywhere yet."]
            if not await self.choline_app.confirm(Confirm("Leave without saving?", lines, "Leave")):
                return
        if self.choline_app.wanted.once:
            self.app.exit(None)
        else:
            self._close()

    def action_market(self) -> None:
        """To the offers, with what the hardware step says as filter."""
        draft = self.draft
        if draft is None:
            return
        from choline_tui.services.hardware import as_filter

        try:
            text = as_filter(draft.typed("gpu"), draft.typed("query"))
        except CholineError as error:
            self.choline_app.fail(error, "making a filter of the hardware")
            return
        self.choosing = True
        self.choline_app.choose_hardware(text)

    def take_filter(self, text: str, found: Mapping[str, Any]) -> None:
        """Back from the offers: the filter typed there; ``found``: type, disk and cap, where chosen."""
        draft = self.draft
        self.choosing = False
        if draft is None:
            return
        from choline_tui.services.hardware import from_filter

        try:
            values = {**from_filter(text), **found}
        except CholineError as error:
            self.choline_app.fail(error, "taking the filter")
            return
        for key, value in values.items():
            wrong = draft.put(key, str(value) if value is not None else None)
            if not wrong and value is not None:
                draft.came_from(key, draft.get(key), "chosen on the market")
        self.at = next(n for n, step in enumerate(self.steps) if step is not None and step.id == "hardware")
        self.show()

    @work(exclusive=True, group="wizard-keep", exit_on_error=False, description="keeping a template")
    async def action_template(self) -> None:
        """Keep the set-up for other projects."""
        draft = self.draft
        if draft is None or (self.reviewing and not self._take_text()):
            return
        if self.choline_app.readonly:
            self.choline_app.fail(
                UsageError("this choline is read-only", hint=READ_ONLY), "keeping a template"
            )
            return
        from choline_tui.screens.wizard.keep import KeepScreen
        from choline_tui.services.templates import keep, named_templates

        name = await self.app.push_screen_wait(KeepScreen(draft.template, tuple(draft.templates)))
        if name is None:
            return
        try:
            keep(name, draft.data(), self.choline_app.environ)
            self.choline_app.say(f"kept: choline init --template {name}")
            count = len(self.steps)
            draft.templates = {each.name: each for each in named_templates(self.choline_app.environ)}
        except CholineError as error:
            self.choline_app.fail(error, "keeping a template")
            return
        if len(self.steps) != count:  # the first one: its step is there from now on
            self.at += 1
            self.seen_steps = {n + 1 for n in self.seen_steps}
            self.shown_at = self.at
            self._say_steps()

    def action_refresh(self) -> None:
        """Look at the project again; answers would be lost."""
        self._again()

    @work(exclusive=True, group="wizard-leave", exit_on_error=False)
    async def _again(self) -> None:
        if self.unsaved:
            lines = ["The project is looked at anew; what you answered is lost."]
            if not await self.choline_app.confirm(Confirm("Begin again?", lines, "Begin again")):
                return
        self.draft = None
        self.look()


def _line_of(text: str, key: str) -> int | None:
    """The line (from 0) of a key, or of its commented-out example."""
    from choline_tui.config.locate import locate

    place = locate(text, key)
    if place is not None and place.value:
        return place.line - 1
    example = text.find(f"\n# {key} = ")
    return text.count("\n", 0, example + 1) if example >= 0 else None


def _asks(widget: Widget) -> bool:
    """Lines and lists that enter goes through; what else was found is only for the arrows."""
    return isinstance(widget, (LineInput, TickList)) and widget.focusable and widget.display


def _widgets(specs: "Sequence[Spec]") -> list[Widget]:
    """With a blank line after each, but between lines of one row."""
    made: list[Widget] = []
    for n, spec in enumerate(specs):
        widget: Widget
        if isinstance(spec, Facts):
            widget = FactLines(spec)
        elif isinstance(spec, Line):
            widget = LineField(spec)
            after = specs[n + 1] if n + 1 < len(specs) else None
            widget.set_class(spec.short and isinstance(after, Line) and after.short, "-close")
        else:
            widget = TickField(spec)
        made.append(widget)
    return made
