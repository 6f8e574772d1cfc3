"""A shell gets the real terminal, and gives it back."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support import wait_until
from tests.support.terminal import Person

PROGRAM = """
import asyncio, sys
from tests.ui.runs.stage import RunsFake, make_app

SHELL = '''trap "echo was-interrupted" INT
echo shell-is-here
until read word; do :; done
sleep 1  # long enough to fill a queue of thirty screens
echo "got <$word>"
exit 255'''

app = make_app(RunsFake(argv=["sh", "-c", SHELL]))

async def busy():
    # what would fill the terminal's queue while somebody else has it
    while True:
        await asyncio.sleep(0.02)
        app.fake_clock.now += 1
        app.fake_feed.touch()
        if app.main_screen is not None:
            app.main_screen.refresh(layout=True)

app.call_later(lambda: app.run_worker(busy()))
app.run()
print("left-with", app.return_code)
"""


def again(me: Person, text: str) -> Callable[[], bool]:
    """Shown once more from now on."""
    before = me.seen.count(text.encode())
    return lambda: me.seen.count(text.encode()) > before


def test_a_shell_gets_the_terminal_and_gives_it_back(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    env = {**os.environ, "PYTHONPATH": str(root), "TERM": "xterm-256color"}
    with Person([sys.executable, "-c", PROGRAM], env, cwd=tmp_path) as me:
        me.waits("tiny-0")
        me.types("t")
        me.waits("shell-is-here")
        me.types(b"\x03")
        me.waits("was-interrupted")
        me.types("hello\r")
        me.waits("got <hello>")
        me.waits("enter: back to choline")
        back = again(me, "tiny-0")
        me.types("\r")
        wait_until(back, within=30, what="choline is back")
        me.waits("SSH ended with an error")
        me.types("q")
        me.waits("left-with 0")
        assert me.left() == 0
