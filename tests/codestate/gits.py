"""Git projects to freeze, made with real git."""

import os
import subprocess
from pathlib import Path

from tests.support import needs


def git(directory: Path, *words: str) -> str:
    """What real git printed; it must succeed."""
    return subprocess.run(
        ["git", *words], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def tree(directory: Path) -> dict[bytes, tuple[str, bytes]]:
    """Relative name of every file and link below (not ``.git``): its kind, and its content or target."""
    found: dict[bytes, tuple[str, bytes]] = {}
    top = os.fsencode(directory)
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != b".git"]
        for name in [*names, *folders]:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                found[os.path.relpath(path, top)] = ("link", os.readlink(path))
            elif os.path.isfile(path) and name != b".git":
                with open(path, "rb") as file:
                    kind = "program" if os.stat(path).st_mode & 0o100 else "file"
                    found[os.path.relpath(path, top)] = (kind, file.read())
    return found


ODD = b"new\nline \xff"
"""a name of any bytes"""


def make_repository(directory: Path) -> Path:
    """One commit on main, with a program, a link, an empty and a binary file and an odd name."""
    needs("git")
    (directory / "sub").mkdir(parents=True)
    git(directory, "init", "-q", "-b", "main")
    (directory / "train.py").write_text("one\ntwo\nthree\n")
    (directory / "sub" / "go.sh").write_text("#!/bin/sh\n")
    (directory / "sub" / "go.sh").chmod(0o755)
    (directory / "empty").write_bytes(b"")
    (directory / "binary").write_bytes(bytes(range(256)) * 4)
    (directory / "link").symlink_to("sub/go.sh")
    (directory / "old.txt").write_text("".join(f"line {n}\n" for n in range(30)))
    Path(os.fsdecode(os.path.join(os.fsencode(directory), ODD))).write_text("odd\n")
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "First")
    return directory


def change(directory: Path) -> None:
    """Staged, unstaged, untracked, deleted, renamed, binary, a mode and a link."""
    (directory / "train.py").write_text("one\nTWO\nthree\nfour\n")
    git(directory, "add", "train.py")
    (directory / "train.py").write_text("one\nTWO\nthree\nfour\nfive\n")
    (directory / "fresh.py").write_text("a\nb")
    (directory / "sub" / "go.sh").chmod(0o644)
    (directory / "binary").write_bytes(bytes(range(255, -1, -1)) * 4)
    (directory / "link").unlink()
    (directory / "link").symlink_to("train.py")
    git(directory, "mv", "old.txt", "moved.txt")
    (directory / "empty").unlink()
