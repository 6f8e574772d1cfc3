"""kernel/ and remote/ run on Python 3.8: syntax always checked, imported for real where 3.8 is here."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import choline_tui

ROOT = Path(choline_tui.__file__).parent
FILES = sorted([*(ROOT / "kernel").glob("*.py"), *(ROOT / "remote").glob("*.py")])
NEWER = {
    "removeprefix", "removesuffix", "waitstatus_to_exitcode", "file_digest", "to_thread", "TaskGroup",
    "pairwise", "bit_count", "randbytes", "cache", "files", "timeout_at", "Self", "StrEnum", "tomllib",
    "zoneinfo", "graphlib", "TypeAlias", "ParamSpec", "override", "pidfd_open", "is_relative_to",
}  # fmt: skip
NEWER_KEYWORDS = {"slots", "kw_only", "strict"}
GENERIC = {"list", "dict", "tuple", "set", "frozenset", "type"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_nothing_newer_than_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 8))
    for node in ast.walk(tree):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            assert node.attr not in NEWER, f"{where}: {node.attr}"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            assert not names & NEWER, f"{where}: {names}"
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in GENERIC, f"{where}: {node.value.id}[...]"
        elif isinstance(node, ast.Call):
            found = {k.arg for k in node.keywords} & NEWER_KEYWORDS
            assert not found, f"{where}: {found}"
        else:
            note = getattr(node, "annotation", None) or getattr(node, "returns", None)
            assert not isinstance(note, ast.BinOp), f"{where}: X | Y in an annotation"


def old_python() -> str | None:
    for name in ("python3.8", "python3.9"):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return path
    return None


def test_all_of_it_can_be_imported_with_nothing_installed() -> None:
    python = old_python() or sys.executable
    names = [f"choline_tui.{p.parent.name}.{p.stem}" for p in FILES if p.stem != "__init__"]
    code = f"import sys; sys.path.insert(0, {str(ROOT.parent)!r})\n" + "".join(f"import {n}\n" for n in names)
    done = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
