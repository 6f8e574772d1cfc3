"""What is done with runs, from the list and from a run's page alike. Whatever ends or loses something is
asked first, with target and cost, and the answer is no unless it is said."""

import shlex
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from choline_tui.kernel.errors import CholineError, SshDropped, UsageError
from choline_tui.model.words import clean, dollars, number, size
from choline_tui.screens.base import MainScreen
from choline_tui.screens.dialogs import Confirm
from choline_tui.screens.runs.cells import billing
from choline_tui.screens.runs.outside import Forwards, in_terminal, start_window

if TYPE_CHECKING:
    from choline_tui.model.request import RunRequest
    from choline_tui.model.run import Rental
    from choline_tui.services.choline import RunView

__all__ = ["RunVerbs", "name_of", "plan_card"]

LISTED = 8
"""runs that a question names; it counts the others"""


def name_of(view: "RunView") -> str:
    """``abc123 tiny``."""
    return f"{view.run.id} {clean(view.run.plan.name, 60)}".strip()


async def plan_card(screen: MainScreen, request: "RunRequest") -> str | None:
    """The plan card for a request; the id of the run that was started, or None. From a worker only."""
    from choline_tui.screens.offers.market import Needs
    from choline_tui.screens.offers.plan_card import PlanScreen

    return await screen.app.push_screen_wait(PlanScreen(request.model_dump(exclude_unset=True), Needs()))


class RunVerbs(MainScreen):
    """Subclasses say on which runs (``chosen_views``)."""

    def chosen_views(self) -> "list[RunView]":
        raise NotImplementedError

    @property
    def now(self) -> float:
        return self.choline_app.clock.time()

    @property
    def forwards(self) -> Forwards:
        app = self.choline_app
        found = getattr(app, "forwards", None)
        if found is None:
            found = Forwards()
            app.forwards = found  # type: ignore[attr-defined]
        return cast("Forwards", found)

    def act(self, doing: str, work: Coroutine[Any, Any, None], group: str = "verb") -> None:
        """Do it beside the screen; what goes wrong is told."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self.choline_app.fail(error, doing)

        self.app.run_worker(guarded(), name=doing, group=group, description=doing, exit_on_error=False)

    def _one(self, doing: str, work: "Callable[[RunView], Coroutine[Any, Any, None]]") -> None:
        """``work`` on the one run that is chosen."""
        views = self.chosen_views()
        if len(views) == 1:
            self.act(f"{doing} {views[0].run.id}", work(views[0]))
        elif views:
            error = UsageError(
                f"{len(views)} runs are marked", hint="This is for one run: esc takes the marks away."
            )
            self.choline_app.fail(error, doing)

    def _all(self, doing: str, work: "Callable[[list[RunView]], Coroutine[Any, Any, None]]") -> None:
        views = self.chosen_views()
        if views:
            what = views[0].run.id if len(views) == 1 else f"{len(views)} runs"
            self.act(f"{doing} {what}", work(views))

    async def _each(self, doing: str, ids: list[str], work: Callable[[str], Awaitable[Any]]) -> list[str]:
        """Those for which it went well; what goes wrong with one does not keep the others."""
        done = []
        for each in ids:
            try:
                await work(each)
            except CholineError as error:
                self.choline_app.fail(error, f"{doing} {each}")
            else:
                done.append(each)
        self.choline_app.look_again()
        return done

    # ------------------------------------------------------------------------------------------- ends

    def action_stop_runs(self) -> None:
        self._all("stopping", self._stop)

    async def _stop(self, views: "list[RunView]") -> None:
        app = self.choline_app
        live = [v for v in views if v.run.live]
        if not live:
            raise _ended(views)
        drop = all(v.run.want == "stop" for v in live)
        rate = sum(v.per_hour() for v in live)
        cost = sum(v.cost(self.now) for v in live)
        lines = _listed([self._stops(v, drop) for v in live])
        if len(live) < len(views):
            lines.append(f"{len(views) - len(live)} of the marked have ended already.")
        what = name_of(live[0]) if len(live) == 1 else f"{len(live)} runs"
        title = f"Stop {what} and lose what is not home?" if drop else f"Stop {what}?"
        money = f"{dollars(cost)} so far" + (f"; ends {dollars(rate)}/h" if rate else "; nothing bills")
        question = Confirm(title, lines, "Stop and lose" if drop else "Stop", money, danger=drop)
        if not await app.confirm(question):
            return

        async def stop(run: str) -> None:
            await app.choline.stop(run, drop_results=drop)

        done = await self._each("stopping", [v.run.id for v in live], stop)
        if done:
            app.say(f"asked to stop: {', '.join(done)}")

    @staticmethod
    def _stops(view: "RunView", drop: bool) -> str:
        run = view.run
        rental = next((r for r in reversed(view.rentals) if r.live), None)
        if rental is None:
            return f"{name_of(view)}: nothing is rented for it."
        machine = _machine(rental)
        if drop:
            return f"{name_of(view)}: destroys {machine} now; results that are not home are LOST."
        home = clean(run.plan.results_into, 300)
        return f"{name_of(view)}: ends the command, brings results to {home}, then destroys {machine}."

    def action_destroy_held(self) -> None:
        self._all("destroying the machine of", self._destroy)

    async def _destroy(self, views: "list[RunView]") -> None:
        app = self.choline_app
        found = [
            (v, r) for v in views if not v.run.live for r in billing(v) if str(r.state) in ("held", "up")
        ]
        if not found:
            raise _nothing_held(views)
        losing = [v for v, _ in found if not v.run.results_complete and any(a.submitted for a in v.attempts)]
        lines = _listed(
            [f"{_machine(r)}, contract {number(r.contract)}, held for {name_of(v)}" for v, r in found]
        )
        lines.append("It is destroyed on the market, with its disk.")
        if losing:
            lines.append(f"Results of {', '.join(v.run.id for v in losing)} are not all home: they are LOST.")
        rate = sum(r.price if r.price is not None else r.offer_price for _, r in found)
        cost = sum(r.cost_until(self.now) for _, r in found)
        what = clean(found[0][1].id, 60) if len(found) == 1 else f"{len(found)} machines"
        question = Confirm(
            f"Destroy {what}?", lines, "Destroy and lose" if losing else "Destroy",
            f"{dollars(cost)} so far; ends {dollars(rate)}/h", danger=bool(losing),
        )  # fmt: skip
        if not await app.confirm(question):
            return
        lost = {r.id for v, r in found if v in losing}

        async def destroy(rental: str) -> None:
            await app.choline.destroy(rental, drop_results=rental in lost)

        app.say(f"destroying {what}: it is red until it is verified gone")
        await self._each("destroying", [r.id for _, r in found], destroy)

    def action_remove_runs(self) -> None:
        self._all("removing", self._remove)

    async def _remove(self, views: "list[RunView]") -> None:
        app = self.choline_app
        why = {v.run.id: app.choline.why_not_removed(v, drop_results=True) for v in views}
        kept = next((reason for reason in why.values() if reason), "")
        if kept:
            raise UsageError(
                kept, hint="Only runs that are over, and of which nothing bills, can be removed."
            )
        losing = [v for v in views if app.choline.why_not_removed(v)]
        lines = _listed([name_of(v) for v in views])
        lines.append("Taken out of the list, with logs, evidence and frozen code. Money spent stays counted.")
        if losing:
            lines.append(f"The results of {', '.join(v.run.id for v in losing)} never came home whole.")
        folder = clean(views[0].run.plan.results_into, 300)
        lines.append(f"Results stay where they are: {folder}" if len(views) == 1 and folder else
                     "Results at home stay where they are.")  # fmt: skip
        what = name_of(views[0]) if len(views) == 1 else f"{len(views)} runs"
        cost = f"{dollars(sum(v.cost(self.now) for v in views))} spent in all"
        if not await app.confirm(Confirm(f"Remove {what}?", lines, "Remove", cost, danger=bool(losing))):
            return
        answer = await app.choline.rm(*(v.run.id for v in views), drop_results=bool(losing))
        freed = sum(float(row.get("bytes") or 0) for row in answer)
        app.say(f"removed {what}; {size(freed)} freed")
        app.look_again()
        self.removed([v.run.id for v in views])

    def removed(self, runs: list[str]) -> None:
        """These were taken out of the lists."""

    # ------------------------------------------------------------------------------------------ again

    def action_again(self) -> None:
        self._one("running again", self._again)

    async def _again(self, view: "RunView") -> None:
        await self._plan(self.choline_app.choline.again(view.run.id))

    def action_like(self) -> None:
        self._one("running like", self._like)

    async def _like(self, view: "RunView") -> None:
        await self._plan(self.choline_app.choline.like(view.run.id))

    async def _plan(self, request: "RunRequest") -> None:
        started = await plan_card(self, request)
        if started is not None:
            self.choline_app.look_again()
            self.choline_app.open_run(started)

    # ----------------------------------------------------------------------------------------- fetches

    def action_pull(self) -> None:
        self._all("fetching the results of", self._pull)

    async def _pull(self, views: "list[RunView]") -> None:
        app = self.choline_app
        app.say(f"fetching results: {', '.join(v.run.id for v in views[:LISTED])}")

        async def pull(run: str) -> None:
            answer = await app.choline.pull(run)
            whole = "complete" if answer.get("complete") else "it may still write more"
            if answer.get("copied"):
                whole = f"by its host's copier, because {clean(answer['copied'], 200)}; {whole}"
            app.say(
                f"{run}: {number(answer.get('files'))} files, {size(answer.get('bytes'))} in "
                f"{clean(answer.get('into'), 200)} ({whole})"
            )

        if await self._each("fetching the results of", [v.run.id for v in views], pull):
            self.fetched()

    def fetched(self) -> None:
        """Results came home."""

    # ------------------------------------------------------------------------------------------ enters

    def action_shell(self) -> None:
        self._one("opening a shell on", self._shell)

    async def _shell(self, view: "RunView") -> None:
        await self._in_terminal(await self.choline_app.choline.ssh_command(view.run.id))

    def action_attach(self) -> None:
        self._one("attaching to", self._enter)

    async def _enter(self, view: "RunView") -> None:
        await self._in_terminal(await self.choline_app.choline.attach_command(view.run.id))

    async def _in_terminal(self, argv: list[str]) -> None:
        app = self.choline_app
        status = await in_terminal(app, argv)
        if status == 255:
            again = f"To see it again: {shlex.join(argv)}"
            app.fail(SshDropped("SSH ended with an error", hint=again), "opening a terminal")
        app.look_again()

    def action_open_code(self) -> None:
        self._one("opening in VS Code", self._open_code)

    async def _open_code(self, view: "RunView") -> None:
        app = self.choline_app
        include = app.choline.ssh_include()
        if not include.installed:
            question = Confirm(
                "Let your SSH know choline's machines?",
                ["VS Code finds machines by your own SSH configuration.", "This line is added:", include.line,
                 "'choline ssh-config remove' takes it out again."],
                "Add it",
            )  # fmt: skip
            if not await app.confirm(question):
                return
            include.install()
        app.say(f"opening {view.run.id} in VS Code")
        await start_window(await app.choline.open_command(view.run.id))

    # ----------------------------------------------------------------------------------------- reaches

    def action_forward(self) -> None:
        self._one("forwarding a port of", self._forward)

    async def _forward(self, view: "RunView") -> None:
        from choline_tui.screens.runs.forward import ForwardScreen

        app, run = self.choline_app, view.run.id
        known = [f"{each.ports}" for each in self.forwards.of(run)]
        wanted = [clean(port, 40).partition("/")[0] for port in view.run.plan.ports]
        answer = await app.push_screen_wait(ForwardScreen(name_of(view), known, wanted))
        if answer is None:
            return
        what, ports = answer
        if what == "close":
            for each in self.forwards.of(run):
                if each.ports == ports:
                    await self.forwards.stop(each)
            app.say(f"port {ports} is closed")
        else:
            argv = await app.choline.forward_command(run, ports)
            forward = await self.forwards.start(run, ports, argv)
            app.say(f"{forward.url} leads to {run}")
        self.forwards_changed()

    def forwards_changed(self) -> None:
        """A port was opened or closed."""

    def action_copy_id(self) -> None:
        views = self.chosen_views()
        if views:
            ids = " ".join(v.run.id for v in views)
            self.choline_app.copy(ids, ids if len(views) == 1 else f"{len(views)} ids")

    def action_copy_ssh(self) -> None:
        self._one("the ssh command of", self._copy_ssh)

    async def _copy_ssh(self, view: "RunView") -> None:
        app = self.choline_app
        argv = await app.choline.ssh_command(view.run.id)
        if app.choline.ssh_include().installed:
            argv = ["ssh", app.choline.ssh_name(view.run.id)]
        app.copy(shlex.join(argv), "the ssh command")


def _machine(rental: "Rental") -> str:
    price = rental.price if rental.price is not None else rental.offer_price
    return f"{rental.num_gpus}x {clean(rental.gpu_name, 40)} ({clean(rental.id, 60)}, {dollars(price)}/h)"


def _listed(lines: list[str]) -> list[str]:
    if len(lines) <= LISTED:
        return lines
    return [*lines[:LISTED], f"... and {len(lines) - LISTED} more"]


def _ended(views: "list[RunView]") -> UsageError:
    if len(views) > 1:
        return UsageError("none of the marked runs is live: there is nothing to stop")
    run = views[0].run
    return UsageError(f"run {run.id} has ended already ({run.outcome})")


def _nothing_held(views: "list[RunView]") -> UsageError:
    states = sorted({str(r.state) for v in views for r in billing(v)})
    if any(v.run.live for v in views):
        return UsageError("a machine of a live run goes with the run", hint="x stops it, results first.")
    if states:
        return UsageError(
            f"it is {', '.join(states)} already", hint="Its destroy is verified, then it is gone."
        )
    return UsageError("no machine is held for it: nothing of it bills")
