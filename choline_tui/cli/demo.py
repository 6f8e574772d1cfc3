"""``choline demo``: the whole job on a private rehearsal market, through the real engine, then checked."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.demo_parts import (
    KEY,
    EnginePart,
    MarketPart,
    check_results,
    make_home,
    make_project,
    undisturbed,
)
from choline_tui.cli.output import clean, dollars, number, size
from choline_tui.kernel.errors import CholineError, SystemFault

if TYPE_CHECKING:
    from choline_tui.services import Choline, RunView

__all__ = ["configure_demo"]

FAILED = 3
INTERRUPTED = 130


def configure_demo(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "It starts a market of its own on this computer, with a home of its own: no\n"
        "account, no money, and nothing of yours is touched. On a terminal it opens the\n"
        "app there, with a project to run and runs in every state. With --headless, or\n"
        "without a terminal, it does one whole run and checks it. Exit 0: every step and\n"
        "every check at the end held; 3: one did not."
    )
    add = parser.add_argument
    add("--headless", action="store_true", help="no screens: one run, step by step, then checked")
    add("--keep-files", action="store_true", help="leave its files where they are")
    add("--boot", type=float, default=5.0, metavar="S", help="seconds from renting to a running machine")
    parser.set_defaults(handler=demo)


def demo(args: argparse.Namespace, context: Context) -> int:
    from choline_tui.cli.screens import on_terminal

    if not args.headless and on_terminal(context.environ):
        from choline_tui.cli.demo_app import demo_app

        return demo_app(context.environ, boot=args.boot, keep=args.keep_files)
    root = Path(tempfile.mkdtemp(prefix="choline-demo-")).resolve()
    rehearsal = Rehearsal(root, context, boot=args.boot)
    keep = args.keep_files
    try:
        held = asyncio.run(_interruptible(rehearsal))
        keep = keep or not held
        return 0 if held else FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        with contextlib.suppress(OSError):  # the terminal may be gone
            context.out.note("\nInterrupted: its engine and its market are ended.")
        return INTERRUPTED
    except CholineError:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
        with contextlib.suppress(OSError):
            if keep:
                context.out.line(f"Its files are in {root}; the results in project/results", "dim")
            else:
                context.out.line(f"Its files were in {root} and are removed; --keep-files keeps them.", "dim")


async def _interruptible(rehearsal: "Rehearsal") -> bool:
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    assert me is not None
    # as with Ctrl-C, which asyncio turns into the same: everything is taken down in order
    for sign in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sign, me.cancel)
    try:
        return await rehearsal.run()
    finally:
        for sign in (signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(sign)


class Rehearsal:
    """The steps, each printed with the seconds since the start."""

    def __init__(self, root: Path, context: Context, *, boot: float) -> None:
        self.root = root
        self.out = context.out
        self.began = time.monotonic()
        self.results: dict[str, bool] = {}
        environ = {k: v for k, v in context.environ.items() if not k.startswith(("VAST_", "CHOLINE_"))}
        self.environ = {**environ, "CHOLINE_HOME": str(root / "home"), "VAST_API_KEY": KEY}
        self.market = MarketPart(root, boot=boot, environ=self.environ)
        self.engine = EnginePart(root / "home", self.environ)

    def step(self, text: str) -> None:
        offset = f"{time.monotonic() - self.began:6.1f}s"
        self.out.line(f"{self.out.paint(offset, 'dim')}  {text}")
        self.out.stdout.flush()

    def check(self, text: str, held: Any) -> None:
        self.results[text] = bool(held)
        glyph = self.out.paint("✔", "green") if held else self.out.paint("✘", "red")
        self.out.line(f"  {glyph} {text}" + ("" if held else ": NO"))

    async def run(self) -> bool:
        """True when all of it held. The engine and the market are ended, whatever happens."""
        self.step("starting a private rehearsal market")
        try:
            url = await self.market.start()
            self.environ["VAST_URL"] = url
            self.step(f"the market answers at {url}")
            make_home(self.root / "home", self.environ)
            project = await asyncio.to_thread(make_project, self.root / "project", self.environ)
            self.step(f"made a sample project in {project}")
            view, billing = await self._job(project)
            stopped = await self.engine.end()
            self.step("the engine ended")
        finally:
            # also when cancelled: nothing of ours goes on
            taken = asyncio.ensure_future(self._take_down())
            with undisturbed():
                with contextlib.suppress(OSError):  # the terminal may be gone
                    self.step("taking down what is left of it")
                while not taken.done():
                    with contextlib.suppress(asyncio.CancelledError):  # by a second signal
                        await asyncio.shield(taken)
        self._verdict(view, billing, stopped)
        return all(self.results.values())

    async def _take_down(self) -> None:
        await self.engine.end()
        await self.market.end()

    async def _job(self, project: Path) -> "tuple[RunView, float]":
        from choline_tui.services import Choline

        async with Choline(home=self.root / "home", environ=self.environ) as choline:
            self.step("the engine starts; searching for one RTX 4090")
            found = await choline.offers(gpu="1x4090")
            if not found.rows:
                raise SystemFault("the rehearsal market has no RTX 4090")
            best = found.rows[0]
            count = f"{'' if found.complete else '>= '}{len(found.rows)} offers"
            price = f"{dollars(best.get('price'))}/h with {found.disk_gb:g} GB disk"
            self.step(f"{count}; the cheapest: {price}, {clean(best.get('geolocation'))}")
            request = choline.request(project=str(project))
            card = await choline.plan(request)
            offer = card.offer or {}
            where = f"{number(offer.get('num_gpus'))}x {clean(offer.get('gpu_name'))}"
            sends = f"sends {card.files} files ({size(card.bytes)})"
            self.step(f"plan: {clean(card.plan.command)} on {where}, cap {dollars(card.plan.cap)}/h, {sends}")
            agreed = request.model_copy(update={"max_price": card.plan.cap})
            run = await choline.start(agreed)
            self.step(f"run {run.id}: rent, boot, connect, check, send, run, bring home, destroy, verify")
            await self._watch(choline, run.id)
            now = time.time()
            return choline.show(run.id), choline.money(now).per_hour

    async def _watch(self, choline: "Choline", run: str) -> None:
        from choline_tui.cli.follow import DemoFollower, follow_run

        await follow_run(choline, run, DemoFollower(self.out, self.step), until="gone")

    def _verdict(self, view: "RunView", billing: float, stopped: bool) -> None:
        run, books = view.run, self.market.books
        self.out.line()
        self.check("the run succeeded", run.outcome == "succeeded" and run.exit_code == 0)
        self.check("exactly one contract was ever made", books.get("made") == 1)
        self.check("nothing bills on the market", books.get("alive") == 0 and books.get("billing_now") == 0)
        self.check("this home knows of nothing that bills", billing == 0 and view.gone)
        wrong = check_results(Path(run.plan.results_into), self.root / "home" / "runs" / run.id)
        self.check("results, checkpoint and log are at home, complete", run.results_complete and not wrong)
        if wrong:
            self.out.line(f"    {clean(wrong, 400)}")
        self.check("the engine has stopped", stopped)
        self.out.line()
        cost = dollars(view.cost(time.time()))
        good = all(self.results.values())
        text = "All of it held" if good else "Not all of it held"
        seconds = time.monotonic() - self.began
        self.out.line(f"{text}, in {seconds:.1f} s; a real market would have asked about {cost}.", "bold")
        if good:
            self.out.line(
                "On the real market it is 'choline run -- COMMAND', with your key; see 'choline run --help'."
            )
