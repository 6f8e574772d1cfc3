"""The command line's front door: quick answers first, and the one place where errors become exit codes.

Exit codes: 0 done, 1 the task failed, 2 usage, 3 system, 4 not found, 5 account, 6 rate, 7 engine,
70 a fault of choline itself, 130 interrupted. Nothing heavy is imported here; ``choline_tui.cli.commands``
has the commands.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]

CRASHED = 70
"""EX_SOFTWARE of sysexits.h"""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""as a shell reports a program that SIGPIPE ended"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; its exit code. Prints errors itself; raises nothing but ``SystemExit``."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words in (["--version"], ["-V"]):
        from choline_tui import __version__

        try:
            print(f"choline {__version__}", flush=True)
        except BrokenPipeError:
            return _broken_pipe()
        return 0
    return _funnel(words)


def _funnel(words: list[str]) -> int:
    from importlib import import_module

    from choline_tui.kernel.errors import CholineError

    try:
        from choline_tui.cli.screens import open_app, wanted

        where = wanted(words)
        code = open_app(where) if where else int(import_module("choline_tui.cli.commands").run(words))
        sys.stdout.flush()
    except CholineError as error:
        return _complain(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        return _broken_pipe()
    except Exception as error:
        return _crashed(error, words)
    return code


def _complain(message: str, hint: str, code: int) -> int:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        pass
    try:
        print(_folded(f"choline: {_plain(message)}"), file=sys.stderr)
        if hint:
            print(_folded(_plain(hint)), file=sys.stderr)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nobody listens; the exit code still says it
    return code


def _folded(line: str) -> str:
    """In lines of the terminal's width, cut between words; one line when it is no terminal."""
    if not sys.stderr.isatty():
        return line
    import shutil
    import textwrap

    return "\n".join(textwrap.wrap(line, max(20, shutil.get_terminal_size().columns), break_on_hyphens=False))


def _plain(text: str) -> str:
    """One line, without characters that move the cursor: a message may quote foreign text."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    line = " ".join(text.split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return line.encode(encoding, "backslashreplace").decode(encoding)


def _broken_pipe() -> int:
    """The reader is gone (``choline offers | head``): say nothing, not even at the interpreter's end."""
    import os

    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        pass
    finally:
        os.close(nowhere)
    return BROKEN_PIPE


def _crashed(error: Exception, words: list[str]) -> int:
    """Keep the traceback for a report and say where it lies; values of variables are never in it."""
    import os
    import platform
    import tempfile
    import time
    import traceback

    from choline_tui import __version__

    # of the command line the verb only: the rest may hold a secret (--env)
    verb = words[0] if words and words[0].replace("-", "").isalnum() else "-"
    system = f"Python {platform.python_version()}, {platform.platform()}"
    head = f"choline {__version__}, {system}\ncommand: {verb}\n\n"
    trace = "".join(traceback.format_exception(error))
    name = time.strftime("crash-%Y%m%d-%H%M%S-") + str(os.getpid()) + ".txt"
    try:
        from choline_tui.config.paths import Paths

        folder = Paths().crash_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except Exception:  # whatever broke may have broken this as well
        folder = None
    try:
        if folder is None:
            handle, path = tempfile.mkstemp(prefix="choline-", suffix="-" + name)
        else:
            path = str(folder / name)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(head + trace)
        where = f"what happened is in {path}"
    except OSError as fault:
        where = f"and the report could not be written ({fault.strerror})"
    return _complain(
        f"a fault of choline itself ({type(error).__name__}); {where}",
        "Please report it with that file. Nothing that was rented is forgotten: see 'choline rentals'.",
        CRASHED,
    )
