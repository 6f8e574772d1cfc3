"""Finding the engine, and starting it when there is none: one for a home, however many ask at once."""

import asyncio
import contextlib
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from choline_tui import __version__
from choline_tui.config.home import load
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import EngineError
from choline_tui.secrets import find_key
from choline_tui.services.connection import Connection
from choline_tui.services.identity import fingerprint

__all__ = ["STARTED", "connect", "fingerprint", "market", "start_process"]

STARTED: "list[tuple[Path | None, subprocess.Popen[bytes]]]" = []
"""engines that this program started and that were not seen to end, each with its home. Who has to end
those of a home (a rehearsal) finds them here: one that is only starting holds no lock and answers nobody"""

START_WITHIN = 20.0
"""seconds"""
AGAIN_AFTER = 5.0
"""seconds after which another start is tried: the first may have met an engine that was just ending"""
POLL = 0.02
ALREADY = 75
"""an engine's exit status when another has this home, as in ``engine.main``"""
LAST_WORDS = 2000
"""bytes of the engine's log in which its last line is looked for"""


def market(paths: Paths, environ: Mapping[str, str]) -> tuple[str, str]:
    """(address of the market, fingerprint of the key) as this environment has them."""
    settings = load(paths, environ).settings
    secret = settings.vast.key.get_secret_value() if settings.vast.key else None
    found = find_key(environ, secret)
    return settings.vast.url, fingerprint(found[0].reveal() if found else "")


def start_process(paths: Paths, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start the engine, detached: it outlives this program and its terminal.

    Raises ConfigError when the home's directories cannot be made, EngineError when no process can.
    """
    paths.ensure()
    env = dict(environ)
    if paths.home is not None:
        env["CHOLINE_HOME"] = str(paths.home)
    try:
        with open(paths.engine_log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "choline_tui.engine", "--on-demand"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd="/",
                start_new_session=True,
            )
    except OSError as error:
        raise EngineError(f"the engine cannot be started: {error.strerror or error}") from None
    STARTED[:] = [*((home, one) for home, one in STARTED if one.poll() is None), (paths.home, process)]
    return process


async def connect(paths: Paths, environ: Mapping[str, str], *, start: bool = True) -> Connection:
    """A connection to this home's engine, started if need be.

    Raises EngineError when it does not come up (within 20 s, or as soon as it gives up), when none runs and
    ``start`` is False, or when the one that runs is busy on another market or with another key than this
    environment names. Raises ConfigError for settings that an engine could not start with.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_WITHIN
    started = -math.inf
    process: subprocess.Popen[bytes] | None = None
    while True:
        found = await _try(paths)
        if found is not None:
            connection, hello = found
            try:
                fits = not start or await _fits(connection, hello, paths, environ)
            except BaseException:
                await connection.close()
                raise
            if fits:
                return connection
        elif not start:
            raise EngineError("no engine runs here", hint="'choline engine start' starts it.")
        now = loop.time()
        code = process.poll() if process is not None else None
        if code is not None and code < 0:
            process, started = None, -math.inf  # somebody killed it: not its own decision, so once more
        elif code not in (None, 0, ALREADY):
            raise EngineError(
                f"the engine ended at once: {_last_words(paths)}", hint=f"See {paths.engine_log}"
            )
        if now > deadline:
            raise EngineError(
                f"the engine did not answer within {START_WITHIN:.0f} s", hint=f"See {paths.engine_log}"
            )
        # one that is alive only needs longer: a second would wait for its lock, and come to life when it ends
        if (process is None or code is not None) and now - started > AGAIN_AFTER:
            market(paths, environ)  # settings that are wrong are told here, and now
            process = start_process(paths, environ)
            started = now
        await asyncio.sleep(POLL)


def _last_words(paths: Paths) -> str:
    """The last line of the engine's log."""
    try:
        lines = paths.engine_log.read_bytes()[-LAST_WORDS:].decode(errors="replace").split("\n")
    except OSError:
        return "it left no word"
    words = [line for line in lines if line.strip()]
    return words[-1][:300] if words else "it left no word"


async def _try(paths: Paths) -> tuple[Connection, dict[str, Any]] | None:
    connection = None
    try:
        connection = await Connection.open(paths.engine_socket)
        return connection, await asyncio.wait_for(connection.call("hello"), 10)
    except (OSError, EngineError, TimeoutError):
        if connection is not None:
            await connection.close()
        return None


async def _fits(
    connection: Connection, hello: dict[str, Any], paths: Paths, environ: Mapping[str, str]
) -> bool:
    """Whether the engine that runs is the one wanted; an idle one that is not is asked to end."""
    url, key = market(paths, environ)
    wrong = ""
    if hello.get("version") != __version__:
        wrong = f"is version {hello.get('version')}, this is {__version__}"
    elif hello.get("url") != url:
        wrong = f"works on {hello.get('url')}, this shell names {url}"
    elif hello.get("key") != key:
        wrong = "has another API key than this shell"
    if not wrong:
        return True
    if hello.get("busy"):
        raise EngineError(
            f"the engine of this home {wrong}, and it has runs to look after",
            hint="Use another CHOLINE_HOME, or wait for them ('choline status').",
        )
    with contextlib.suppress(EngineError):
        await connection.call("engine_stop")
    await connection.close()
    return False
