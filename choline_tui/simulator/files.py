"""``ls``, ``rm`` and ``du`` on a container's disk from outside it, and copies between disks.

What lies there was written by a stranger: every path is walked folder by folder without following links,
so that no command leaves the container's home, however its links point.
"""

import asyncio
import contextlib
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["WRITEABLE", "FileCommandError", "copy_between", "run_file_command"]

WRITEABLE = "/var/lib/docker/overlay2/rehearsal/merged"
"""prefix of the paths in what commands print, as on Vast"""
HOMES = ("/root", "/workspace")
"""paths inside a container that are its home"""
MAX_LINES = 20_000


class FileCommandError(Exception):
    """What the command would say on its standard error."""


async def run_file_command(backend: Any, contract: int, words: list[str]) -> str:
    """What an ``ls``, ``rm`` or ``du`` prints. Raises ``FileCommandError``."""
    options = {letter for word in words[1:] if word.startswith("-") for letter in word[1:]}
    paths = [word for word in words[1:] if not word.startswith("-")] or ["/workspace"]
    modelled: Callable[[int], dict[str, bytes]] | None = getattr(backend, "files", None)
    if modelled is not None:
        return _modelled(backend, contract, words[0], paths)
    home: Callable[[int], Path] | None = getattr(backend, "home", None)
    if home is None:
        raise FileCommandError(f"{words[0]}: nothing is behind this instance")
    command = {"ls": _ls, "rm": _rm, "du": _du}[words[0]]

    def work() -> str:
        return "".join(command(home(contract), path, options) for path in paths)

    return await asyncio.to_thread(work)


def inside(path: str) -> list[str]:
    """The parts of a container's path below its home; relative ones begin there. Raises
    ``FileCommandError`` for what is not below it."""
    clean = posixpath.normpath(path if path.startswith("/") else f"/root/{path}")
    for base in HOMES:
        if clean == base or clean.startswith(f"{base}/"):
            return [part for part in clean[len(base) :].split("/") if part]
    raise FileCommandError(f"{clean}: No such file or directory")


@contextlib.contextmanager
def _folder(home: Path, parts: list[str]) -> Iterator[int]:
    """A folder as a file descriptor, reached without following a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    fd = os.open(home, flags)
    try:
        for part in parts:
            deeper = os.open(part, flags, dir_fd=fd)
            os.close(fd)
            fd = deeper
        yield fd
    except OSError as error:
        raise FileCommandError(f"{'/'.join(parts)}: {error.strerror}") from None
    finally:
        os.close(fd)


def _ls(home: Path, path: str, options: set[str]) -> str:
    parts = inside(path)
    if parts:
        with _folder(home, parts[:-1]) as above:
            facts = _facts(above, parts[-1])
            if not stat.S_ISDIR(facts.st_mode):
                return _line(parts[-1], facts, options)
    with _folder(home, parts) as fd:
        names = sorted(os.listdir(fd))[:MAX_LINES]  # noqa: PTH208 - of a descriptor
        return "".join(
            _line(name, _facts(fd, name), options)
            for name in names
            if "a" in options or not name.startswith(".")
        )


def _facts(folder: int, name: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        raise FileCommandError(f"{name}: {error.strerror}") from None


def _line(name: str, facts: os.stat_result, options: set[str]) -> str:
    if "l" not in options:
        return f"{name}\n"
    return f"{stat.filemode(facts.st_mode)} {facts.st_nlink} root root {facts.st_size:>12} {name}\n"


def _rm(home: Path, path: str, options: set[str]) -> str:
    parts = inside(path)
    if not parts:
        raise FileCommandError(f"rm: refusing to remove {path}")
    with _folder(home, parts[:-1]) as above:
        try:
            facts = _facts(above, parts[-1])
        except FileCommandError:
            if "f" in options:
                return ""
            raise
        if stat.S_ISDIR(facts.st_mode):
            if not options & {"r", "R"}:
                raise FileCommandError(f"rm: cannot remove {path}: Is a directory")
            shutil.rmtree(parts[-1], dir_fd=above)
        else:
            os.unlink(parts[-1], dir_fd=above)
    return ""


def _du(home: Path, path: str, options: set[str]) -> str:
    parts = inside(path)
    total = 0
    lines: list[str] = []
    shown = posixpath.join("/", *posixpath.normpath(path).strip("/").split("/"))
    with _folder(home, parts) as fd:
        for folder, _, names, folder_fd in os.fwalk(".", dir_fd=fd, follow_symlinks=False):
            size = 0
            for name in names:
                with contextlib.suppress(OSError):
                    size += os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_blocks * 512
            total += size
            if "s" not in options and folder != "." and len(lines) < MAX_LINES:
                lines.append(f"{size // 1024}\t{WRITEABLE}{shown}/{folder[2:]}\n")
    return "".join([*lines, f"{total // 1024}\t{WRITEABLE}{shown}\n"])


def _modelled(backend: Any, contract: int, command: str, paths: list[str]) -> str:
    files: dict[str, bytes] = backend.files(contract)
    said = []
    for path in paths:
        prefix = "/".join(inside(path))
        found = {
            name: data
            for name, data in files.items()
            if not prefix or name == prefix or name.startswith(f"{prefix}/")
        }
        if not found and prefix:
            raise FileCommandError(f"{command}: {path}: No such file or directory")
        if command == "rm":
            backend.remove_files(contract, list(found))
        elif command == "du":
            said.append(f"{sum(map(len, found.values())) // 1024}\t{WRITEABLE}{path}\n")
        else:
            names = {name[len(prefix) :].strip("/").split("/")[0] or name.split("/")[-1] for name in found}
            said += [f"{name}\n" for name in sorted(names)]
    return "".join(said)


def copy_between(source: Path, path: str, target: Path, into: str) -> None:
    """Copy a file or folder of one container's home into a folder of another's; links stay links. Raises
    ``FileCommandError``."""
    parts, there = inside(path), inside(into)
    with _folder(source, parts[:-1]) as above:
        name = parts[-1] if parts else "."
        facts = _facts(above, name)
        with _folder(target, []) as fd:
            for part in there:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=fd)
                deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.dup2(deeper, fd)
                os.close(deeper)
            came, went = Path(f"/proc/self/fd/{above}", name), Path(f"/proc/self/fd/{fd}")
            if not stat.S_ISDIR(facts.st_mode):
                shutil.copy2(came, went / name, follow_symlinks=False)
                return
            # as rsync has it: a slash at the end means what is in the folder
            goal = went if path.endswith("/") or name == "." else went / name
            shutil.copytree(came, goal, symlinks=True, dirs_exist_ok=True)
