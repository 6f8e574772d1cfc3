"""What could be the training command: scripts, the README's code lines, entry points, shell history."""

import ast
import os
import re
import shlex
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from choline_tui.survey.found import Finding, tellable
from choline_tui.survey.tree import MAX_SCRIPTS, Tree, read_text

__all__ = ["find_commands"]

MAX_COMMAND = 500
_MAIN = re.compile(r"^if\s+__name__\s*==\s*['\"]__main__['\"]", re.MULTILINE)
_FLAGS = re.compile(
    r"^\s*(?:import|from)\s+(argparse|click|typer|fire|hydra|tyro|absl|simple_parsing)\b", re.M
)
_LEARNS = re.compile(r"^\s*(?:import|from)\s+(torch|jax|tensorflow|keras|lightning|transformers)\b", re.M)
_LAUNCHERS = ("python", "python3", "torchrun", "accelerate", "deepspeed", "bash", "sh", "uv", "poetry")
_WORDS = (("train", 50), ("finetune", 45), ("fine_tune", 45), ("main", 20), ("run", 12))
_NOT = ("test", "eval", "setup", "conftest", "demo", "infer", "predict", "export", "plot", "convert",
        "download", "preprocess", "prepare", "noxfile", "bench")  # fmt: skip
_ASIDE = ("test", "tests", "doc", "docs", "example", "examples", "benchmark", "benchmarks", "third_party")
_HOLES = re.compile(r"<[^>]+>|\.\.\.|\[[^\]]+\]|\$\{?\w|path/to|YOUR_|\{[^}]*\}")
_README = re.compile(r"readme(\.(md|rst|txt))?", re.IGNORECASE)
_HISTORIES = (".bash_history", ".zsh_history", ".local/share/fish/fish_history")


def find_commands(
    tree: Tree, pyproject: Mapping[str, Any], environ: Mapping[str, str], history: bool
) -> list[Finding]:
    """Best first. ``history``: the shells' histories may be read, for lines naming a file of the project."""
    ranked: list[tuple[int, Finding]] = []
    ranked += _scripts(tree)
    ranked += _readme(tree)
    ranked += _entry_points(pyproject)
    if re.search(r"^train\s*:", tree.read("Makefile"), re.MULTILINE):
        ranked.append((55, Finding("make train", "Makefile", "has a target of that name")))
    if history:
        ranked += _history(tree, environ)
    best: dict[str, tuple[int, Finding]] = {}
    for score, each in ranked:
        if tellable(each.value) and (each.value not in best or best[each.value][0] < score):
            best[each.value] = (score, each)
    return [f for _, f in sorted(best.values(), key=lambda x: (-x[0], len(x[1].value), x[1].value))][:12]


def _named(path: str) -> int:
    """How much a file's name promises."""
    *folders, name = path.lower().split("/")
    score = max((points for word, points in _WORDS if word in name), default=0)
    if any(name.startswith(word) or f"_{word}" in name for word in _NOT):
        score -= 45
    if any(folder in _ASIDE for folder in folders):
        score -= 40
    return score + (20 if not folders else 8 if folders[-1] in ("scripts", "bin", "tools") else 0)


def _scripts(tree: Tree) -> list[tuple[int, Finding]]:
    found: list[tuple[int, Finding]] = []
    near = [p for p in tree.files if p.count("/") <= 2 and p.endswith((".py", ".sh")) and tellable(p)]
    near.sort(key=lambda p: (-_named(p), p.count("/"), p))
    for path in near[:MAX_SCRIPTS]:
        text, score = tree.read(path), _named(path)
        if path.endswith(".sh"):
            if score >= 30:
                note = "a script of that name"
                found.append((score - 10, Finding(f"bash {shlex.quote(path)}", path, note)))
        elif path.endswith("/__main__.py") and path.count("/") <= 2:
            package = path.rpartition("/")[0].removeprefix("src/").replace("/", ".")
            if re.fullmatch(r"[\w.]+", package) and not path.startswith("src/"):
                found.append((score + 15, Finding(f"python -m {package}", path, "the package runs itself")))
        elif main := _MAIN.search(text):
            flags, learns = _FLAGS.search(text), _LEARNS.search(text)
            score += (5 if flags else 0) + (12 if learns else 0)
            line = text.count("\n", 0, main.start()) + 1
            note = "has __main__" + (f" and {flags[1]}" if flags else "")
            found.append((score, Finding(f"python {shlex.quote(path)}", f"{path}:{line}", note)))
        elif (score >= 30 or len(near) == 1) and _does_something(text) and not _in_package(path, tree):
            note = "a script of that name" if score >= 30 else "the only script"
            found.append((score - 15, Finding(f"python {shlex.quote(path)}", path, note)))
    return found


def _in_package(path: str, tree: Tree) -> bool:
    folder = path.rpartition("/")[0]
    return bool(folder) and f"{folder}/__init__.py" in tree.files


def _does_something(text: str) -> bool:
    """Whether it does more than define and import when it is run: most scripts have no ``__main__``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in somebody's text
        try:
            body = ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    loops = (ast.For, ast.While, ast.With, ast.Try)
    return any(
        isinstance(one, loops) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Call))
        for one in body
    )


def _names_a_file(words: list[str], tree: Tree) -> str:
    """The file of the project that a command line names."""
    for word in words:
        path = word.removeprefix("./")
        if path in tree.files:
            return path
        if word == "-m":
            following = words[words.index(word) + 1 :][:1]
            base = following[0].replace(".", "/") if following else "?"
            for guess in (f"{base}.py", f"{base}/__main__.py", f"src/{base}.py", f"src/{base}/__main__.py"):
                if guess in tree.files:
                    return guess
    return ""


def _line_as_command(line: str, tree: Tree) -> tuple[int, str] | None:
    """(score, command) of a line that starts a program of this project."""
    line = re.sub(r"\s+", " ", line.strip().removeprefix("$").removeprefix("%").strip())
    if not 0 < len(line) <= MAX_COMMAND or not tellable(line) or re.search(r"[|;<>`]|&&|\s&", line):
        return None
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    plain = [w for w in words if not re.fullmatch(r"[A-Za-z_]\w*=.*", w, re.DOTALL)]
    if not plain or plain[0].rpartition("/")[2] not in _LAUNCHERS:
        return None
    path = _names_a_file(plain[1:], tree)
    if not path:
        return None
    return _named(path) + 25 - (70 if _HOLES.search(line) else 0), line.partition(" #")[0]


def _readme(tree: Tree) -> list[tuple[int, Finding]]:
    name = next((p for p in sorted(tree.files) if _README.fullmatch(p)), "")
    if not name:
        return []
    found: list[tuple[int, Finding]] = []
    joined, start = "", 0
    for number, raw in enumerate(tree.read(name).split("\n"), 1):
        start = start if joined else number
        joined += raw
        if joined.endswith("\\") and len(joined) < 4000:
            joined = joined[:-1] + " "
            continue
        made = _line_as_command(joined, tree)
        if made is not None:
            found.append((made[0] - min(10, len(found)), Finding(made[1], f"{name}:{start}", "a line of it")))
        joined = ""
    return found


def _entry_points(pyproject: Mapping[str, Any]) -> list[tuple[int, Finding]]:
    found = []
    for table, tables in (("project.scripts", ("project",)), ("tool.poetry.scripts", ("tool", "poetry"))):
        inner: Any = pyproject
        for key in (*tables, "scripts"):
            inner = inner.get(key, {}) if isinstance(inner, Mapping) else {}
        for name in inner if isinstance(inner, Mapping) else ():
            if re.fullmatch(r"[\w.-]+", str(name)):
                found.append(
                    (_named(str(name)) - 10, Finding(str(name), "pyproject.toml", f"an entry of {table}"))
                )
    return found


def _history(tree: Tree, environ: Mapping[str, str]) -> list[tuple[int, Finding]]:
    home = environ.get("HOME", "")
    found: list[tuple[int, Finding]] = []
    for name in _HISTORIES if home else ():
        lines = _commands_of(read_text(os.path.join(home, name), 8 << 20).split("\n"))
        for at, line in enumerate(lines):
            made = _line_as_command(line, tree)
            if made is not None:
                recent = 25 * at // max(1, len(lines))
                found.append((made[0] + recent, Finding(made[1], f"~/{name}", "typed before")))
    return found


def _commands_of(lines: Iterable[str]) -> list[str]:
    """Without zsh's ``: TIME:N;`` and fish's ``- cmd:``."""
    return [re.sub(r"^(: \d+:\d+;|- cmd: )", "", line) for line in lines]
