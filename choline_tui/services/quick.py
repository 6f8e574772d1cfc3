"""One question to an engine that runs, without an event loop or pydantic: for commands that must be quick.

Nothing is started and nothing decided here. Whenever the engine that runs may not be the one wanted
(another version, market or key), or there is any trouble on the way, the answer is None, and the
caller takes the long way (``Choline``), which says what is wrong.
"""

import contextlib
import json
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from choline_tui import __version__
from choline_tui.config.paths import Paths
from choline_tui.kernel.errors import CholineError, error_from_wire
from choline_tui.secrets import find_key
from choline_tui.services.identity import fingerprint

__all__ = ["engine_answers", "quick_call"]

DEFAULT_URL = "https://console.vast.ai"
"""as in ``config.settings``, which takes long to load"""
HELLO_WITHIN = 5.0
ANSWER_WITHIN = 300.0
MAX_ANSWER = 64 << 20


def engine_answers(environ: Mapping[str, str]) -> bool:
    """Whether an engine of this home answers at all."""
    try:
        with _open(environ) as line:
            line.settimeout(HELLO_WITHIN)
            return "result" in _ask(line, 1, "hello", {})
    except (OSError, ValueError, CholineError):
        return False


def quick_call(environ: Mapping[str, str], method: str, params: Mapping[str, Any]) -> Any:
    """The result of one of the engine's methods; None: ask the long way. Raises what the engine raised.

    ``method`` must be one that may be asked twice.
    """
    try:
        wanted = _wanted(environ)
        with _open(environ) as line:
            line.settimeout(HELLO_WITHIN)
            hello = _ask(line, 1, "hello", {}).get("result")
            if not isinstance(hello, dict):
                return None
            if (hello.get("version"), hello.get("url"), hello.get("key")) != (__version__, *wanted):
                return None
            line.settimeout(ANSWER_WITHIN)
            answer = _ask(line, 2, method, {**params, "project": str(Path.cwd())})
    except (OSError, ValueError, CholineError):
        return None
    if "error" in answer:
        raise error_from_wire(answer["error"])
    return answer.get("result")


def _wanted(environ: Mapping[str, str]) -> tuple[str, str]:
    """Address of the market and fingerprint of the key, as ``services.launch.market`` finds them."""
    settings: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError, KeyError):
        settings = tomllib.loads(Paths(environ=environ).config_file.read_text("utf-8"))["vast"]
    if not isinstance(settings, dict):
        raise ValueError("not a table")
    url = environ.get("VAST_URL", "").strip() or settings.get("url", DEFAULT_URL)
    found = find_key(environ, settings.get("key"))
    return str(url).rstrip("/"), fingerprint(found[0].reveal() if found else "")


def _open(environ: Mapping[str, str]) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(str(Paths(environ=environ).engine_socket))
    except BaseException:
        line.close()
        raise
    return line


def _ask(line: socket.socket, call: int, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    line.sendall(json.dumps({"id": call, "method": method, "params": params}).encode() + b"\n")
    pieces: list[bytes] = []
    got = 0
    while not (pieces and pieces[-1].endswith(b"\n")):
        piece = line.recv(1 << 18)
        got += len(piece)
        if not piece or got > MAX_ANSWER:
            raise ValueError("the answer is cut")
        pieces.append(piece)
    answer = json.loads(b"".join(pieces))
    if not isinstance(answer, dict) or answer.get("id") != call:
        raise ValueError("not an answer to this")
    return answer
