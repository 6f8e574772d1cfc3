"""What is done with offers from the list: windows, exports, the plan card, copying. Nothing of it looks at
the market by itself."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from choline_tui.kernel.errors import CholineError, UsageError
from choline_tui.screens.base import MainScreen
from choline_tui.screens.offers.filter_bar import FilterBar
from choline_tui.screens.offers.market import Market, Needs, Row, cap_over
from choline_tui.widgets.slider import PercentSlider
from choline_tui.widgets.table import Table

if TYPE_CHECKING:
    from choline_tui.model.typed import Typed
    from choline_tui.screens.palette import Command
    from choline_tui.services.choline import Choline

__all__ = ["OfferVerbs"]


class OfferVerbs(MainScreen):
    """A part of ``OffersScreen``, which gives what stands first."""

    market: Market
    needs: Needs
    order: str
    typed: "Typed | None"
    capping: bool

    @property
    def table(self) -> Table[Row]:
        return self.query_one("#offers", Table)

    @property
    def bar(self) -> FilterBar:
        return self.query_one(FilterBar)

    @property
    def choline(self) -> "Choline":
        return self.choline_app.choline

    @property
    def cap(self) -> float | None:
        raise NotImplementedError

    @property
    def premium(self) -> int:
        return self.query_one("#premium", PercentSlider).value

    def chosen(self) -> list[Row]:
        return self.table.chosen

    def ask(self, *, again: bool = False) -> None:
        raise NotImplementedError

    def refilter(self) -> None:
        """The text, the rows or the disk have changed."""
        raise NotImplementedError

    def ask_if_new(self) -> None:
        raise NotImplementedError

    def say_premium(self) -> None:
        raise NotImplementedError

    def as_hardware(self) -> "tuple[str, dict[str, Any]] | None":
        """What is typed, and type, disk and cap where a person chose them here: for the project. None, and
        why is said, when the filter is not finished."""
        typed = self.typed
        if self.bar.text.strip() and (typed is None or not typed.good):
            error = UsageError("the filter is not finished", hint="Put it right first, or clear it.")
            self.choline_app.fail(error, "taking the filter")
            return None
        text = typed.query.text() if typed is not None and self.bar.text.strip() else ""
        found: dict[str, Any] = {}
        if self.needs.type:
            found["type"] = self.needs.type
        if self.needs.disk_gb is not None:
            found["disk"] = self.needs.disk_gb
        if self.capping and self.cap is not None:
            found["max_price"] = round(self.cap, 4)
        return text, found

    # ------------------------------------------------------------------------------------- windows

    def action_needs(self) -> None:
        from choline_tui.screens.offers.needs import NeedsScreen

        def accepted(needs: Needs | None) -> None:
            if needs is None:
                return
            before, self.needs = (self.market.disk_gb, self.market.type), needs
            if (needs.disk_gb, needs.type) != before:
                self.ask()
            self.say_premium()

        self.app.push_screen(NeedsScreen(self.needs, self.market.disk_gb or 20.0, self.market.type), accepted)

    def action_toggle_type(self) -> None:
        other = "on-demand" if self.market.type == "interruptible" else "interruptible"
        self.needs = replace(self.needs, type=other)
        self.ask()

    def action_saved(self) -> None:
        from choline_tui.screens.offers.choose import SavedChoice, SavedScreen

        def chosen(choice: SavedChoice | None) -> None:
            if choice is not None:
                self._guarded(lambda: self._saved(choice.what, choice.name), "keeping filters")

        def show() -> None:
            present = self.typed.query.text() if self.typed is not None else ""
            self.app.push_screen(SavedScreen(self.choline.filters(), present), chosen)

        self._guarded(show, "reading the saved filters")

    def _guarded(self, do: Callable[[], Any], doing: str) -> None:
        try:
            do()
        except CholineError as error:
            self.choline_app.fail(error, doing)

    def _saved(self, what: str, name: str) -> None:
        app = self.choline_app
        if what == "forget":
            self.choline.remove_filter(name)
            app.say(f"forgot the filter {name}")
            return
        if what == "save":
            from choline_tui.model.filters import Filter

            typed = self.typed
            if typed is None or not typed.good:
                raise UsageError("the filter is not finished", hint="Put it right first, then save it.")
            self.choline.save_filter(name, Filter.of(typed.query))
            app.say(f"saved the filter {name}: choline offers --filter {name}")
            return
        self.use(self.choline.filter(name))

    def use(self, saved: Any) -> None:
        """Ask what a saved filter asks."""
        if saved.type or saved.disk:
            self.needs = replace(
                self.needs, type=saved.type or self.needs.type, disk_gb=saved.disk or self.needs.disk_gb
            )
        self.order = saved.order or "dph_total"
        changed = (self.needs.disk_gb, self.needs.type) != (self.market.disk_gb, self.market.type)
        self.bar.input.value = saved.query
        self.refilter()
        if changed and (self.needs.disk_gb or self.needs.type):
            self.ask()
        else:
            self.ask_if_new()
        self.table.focus()

    def palette_commands(self) -> "list[Command]":
        """Saved filters, to be found by their names."""
        from choline_tui.screens.palette import Command

        try:
            saved = self.choline.filters()
        except (CholineError, RuntimeError):
            return []  # told where filters are asked for; the services may not be there yet
        return [
            Command(f"Filter: {name}", one.query or "everything", partial(self.use, one))
            for name, one in saved.items()
        ]

    def _chosen_or_say(self, what: str) -> list[Row]:
        rows = self.chosen()
        if not rows:
            self.choline_app.say(f"there is no offer to {what}")
        return rows

    def action_export(self) -> None:
        from choline_tui.screens.offers.export import ExportScreen

        rows = self._chosen_or_say("export")
        if rows and self.typed is not None:
            self.app.push_screen(
                ExportScreen(rows, list(self.market.rows.values()), self.typed.query, self.premium,
                             self.market.complete), self._exported,
            )  # fmt: skip

    def _exported(self, premium: int | None) -> None:
        if premium is not None and premium != self.premium:
            self.query_one("#premium", PercentSlider).value = premium

    def action_plan(self) -> None:
        from choline_tui.screens.offers.plan_card import PlanScreen

        rows = self._chosen_or_say("run")
        if not rows or not self.choline_app.may("offers.plan"):
            return
        self.app.push_screen(PlanScreen(self.plan_fields(rows), self.needs), self._started)

    def plan_fields(self, rows: list[Row]) -> dict[str, Any]:
        """What is asked of the engine: these offers and no others, under the cap."""
        fields: dict[str, Any] = {"disk": self.market.disk_gb, "type": self.market.type}
        fields["query"] = self._unusual(rows)
        if len(rows) == 1:
            fields["offer"] = rows[0]["id"]
        else:
            ids = ",".join(str(row["id"]) for row in rows)
            fields["query"] = f"{fields['query']} ask_contract_id in [{ids}]".strip()
        cap = cap_over(rows, self.premium)
        if cap is not None:
            fields["max_price"] = cap
        return fields

    @staticmethod
    def _unusual(rows: list[Row]) -> str:
        """Conditions for offers that a search leaves out by itself (unverified ones); '' for all others."""
        from choline_tui.model.export import defaults_for

        return " ".join(each.text() for each in defaults_for(rows) if not each.default)

    def _started(self, run: str | None) -> None:
        if run is not None:
            self.choline_app.open_run(run)

    def action_save_view(self) -> None:
        from choline_tui.screens.offers.save_view import SaveScreen

        self.app.push_screen(
            SaveScreen(self.table.shown_records, self.table.columns, self.choline_app.clock.time())
        )

    def action_copy_id(self) -> None:
        rows = self._chosen_or_say("copy")
        if rows:
            noun = "id" if len(rows) == 1 else f"{len(rows)} ids"
            self.choline_app.copy("\n".join(str(row["id"]) for row in rows), f"the {noun}")

    def action_copy_command(self) -> None:
        rows = self._chosen_or_say("copy")
        if not rows:
            return
        words = [f"choline run --offer {rows[0]['id']} --disk {self.market.disk_gb:g}"]
        if unusual := self._unusual(rows[:1]):
            words.append(f"--query '{unusual}'")
        if self.market.type == "interruptible":
            words.append("--type interruptible")
        cap = cap_over(rows[:1], self.premium)
        if cap is not None:
            words.append(f"--max-price {cap:.6f}".rstrip("0").rstrip("."))
        self.choline_app.copy(" ".join(words), "the command")
