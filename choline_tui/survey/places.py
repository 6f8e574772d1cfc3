"""Directories of data and of results, large files, experiment trackers, and names of secrets."""

import os
import re
from collections.abc import Mapping

from choline_tui.survey.found import Directory, Finding, Survey, tellable
from choline_tui.survey.tree import Tree, read_text

__all__ = ["LARGE", "RESULT_NAMES", "find_directories", "find_large", "find_secrets", "find_trackers"]

LARGE = 100_000_000
"""bytes of one file from which a person is told"""
DATA_FROM = 20_000_000
"""bytes from which a directory with ``data`` somewhere in its name counts"""
_DATA = {
    "data",
    "dataset",
    "datasets",
    "corpus",
    "corpora",
    "images",
    "train_data",
    "raw",
    "weights",
    "pretrained",
}
RESULT_NAMES = {
    "checkpoints", "checkpoint", "ckpt", "ckpts", "outputs", "output", "runs", "logs", "lightning_logs",
    "wandb", "saved_models", "experiments", "mlruns",
}  # fmt: skip
"""directories that look like results, in lower case"""
_FRESH = {"checkpoints", "checkpoint", "ckpt", "ckpts", "outputs", "output", "lightning_logs"}
"""of those, what a script's own default may name before it is there"""
_FLAG = re.compile(
    r"""["']--?(?:out|output|save|checkpoint|ckpt|log)[\w-]*["'][^\n)]*default\s*=\s*["']([\w./-]{1,80})["']"""
)
_TRACKERS = (
    ("wandb", re.compile(r"^\s*(?:import|from)\s+wandb\b", re.M)),
    ("TensorBoard", re.compile(r"^\s*(?:import|from)\s+(?:tensorboardX?|torch\.utils\.tensorboard)\b", re.M)),
    ("MLflow", re.compile(r"^\s*(?:import|from)\s+mlflow\b", re.M)),
)
_ENV_FILE = re.compile(r"(?:.*/)?\.env(\.(?!example|sample|template|dist)[\w-]+)?")
_ENV_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", re.MULTILINE)


def _sums(tree: Tree, sent: Mapping[str, int]) -> dict[str, list[int]]:
    """[bytes, files, bytes sent] of directories down to the second level."""
    sums: dict[str, list[int]] = {}
    for path, size in tree.files.items():
        parts = path.split("/")
        for depth in range(1, min(3, len(parts))):
            total = sums.setdefault("/".join(parts[:depth]), [0, 0, 0])
            total[0] += size
            total[1] += 1
            total[2] += sent.get(path, 0)
    return sums


def find_directories(
    tree: Tree, sent: Mapping[str, int], command: str
) -> tuple[list[Directory], list[Directory]]:
    """(data, results), the largest first. ``command``: its script's defaults are looked at."""
    data: list[Directory] = []
    results: list[Directory] = []
    sums = _sums(tree, sent)
    for path, (size, count, goes) in sums.items():
        name = path.rpartition("/")[2].lower()
        if not tellable(path):
            continue
        code = sum(1 for p in tree.below(path) if p.endswith(".py")) if name in _DATA | RESULT_NAMES else 0
        if 2 * code > count:
            continue  # a package that is called "data" is code
        if name in RESULT_NAMES:
            results.append(Directory(path, size, count, goes, "its name"))
        elif name in _DATA or ("data" in name and size >= DATA_FROM):
            data.append(Directory(path, size, count, goes, "its name"))
        elif "/" not in path and size >= LARGE and not goes:
            data.append(Directory(path, size, count, goes, "large, and ignored by git"))
    for place in _defaults(tree, command):
        if place not in {d.path for d in (*data, *results)}:
            total = sums.get(place, [0, 0, 0])
            results.append(Directory(place, total[0], total[1], total[2], "a default of the script"))
    return _outermost(data), _outermost(results)


def _outermost(found: list[Directory]) -> list[Directory]:
    names = {each.path for each in found}
    outer = [d for d in found if not any(d.path.startswith(f"{n}/") for n in names)]
    return sorted(outer, key=lambda d: (-d.bytes, d.path))[:12]


def _defaults(tree: Tree, command: str) -> list[str]:
    """Directories below the project that the command's script writes to unless told otherwise."""
    found: list[str] = []
    for word in command.split():
        text = tree.read(word.removeprefix("./")) if word.endswith(".py") else ""
        for said in _FLAG.finditer(text):
            path = os.path.normpath(said[1])
            good = not path.startswith(("/", "..")) and path not in (".", "results")
            if good and "." not in path.rpartition("/")[2] and path not in found:
                found.append(path)
        for name in re.findall(r"""["'](?:\./)?(\w+)/?["']""", text):
            if name in _FRESH and name not in found:
                found.append(name)
    return found[:5]


def find_large(sent: Mapping[str, int]) -> list[Finding]:
    found = sorted(((size, path) for path, size in sent.items() if size >= LARGE), reverse=True)
    return [Finding(path, path, str(size)) for size, path in found[:50]]


def find_trackers(tree: Tree) -> list[Finding]:
    found: dict[str, Finding] = {}
    for path, text in tree.scripts():
        for name, pattern in _TRACKERS:
            said = pattern.search(text) if name not in found else None
            if said:
                line = text.count("\n", 0, said.end()) + 1
                found[name] = Finding(name, f"{path}:{line}")
    return list(found.values())


def find_secrets(tree: Tree, sent: Mapping[str, int], environ: Mapping[str, str], survey: Survey) -> None:
    """Names into ``survey.secrets``; files of secrets that would travel into ``survey.secret_files``."""
    for path in sorted(p for p in tree.files if _ENV_FILE.fullmatch(p) and p.count("/") <= 1):
        for name in dict.fromkeys(_ENV_LINE.findall(tree.read(path))[:200]):
            survey.secrets.append(Finding(name[:100], path))
        if path in sent and tellable(path):
            survey.secret_files.append(Finding(path, path, "variables"))
    for path in sorted(sent):
        name = path.rpartition("/")[2]
        if name in (".netrc", "id_rsa", "id_ed25519", "credentials.json", "kaggle.json") and tellable(path):
            survey.secret_files.append(Finding(path, path, "credentials"))
    home = environ.get("HOME", "")
    login = os.path.join(home, ".cache/huggingface/token")
    if home and "HF_TOKEN" not in {each.value for each in survey.secrets} and os.path.isfile(login):
        survey.secrets.append(Finding("HF_TOKEN", "~/.cache/huggingface/token"))
    text = read_text(os.path.join(home, ".netrc")) if home else ""
    # words after a password may be the password: only what follows "machine" at a line's start is a name
    for name in dict.fromkeys(re.findall(r"(?m)^\s*machine\s+([A-Za-z0-9.-]{1,200})(?=\s|$)", text)):
        survey.secrets.append(Finding(name, "~/.netrc", "a machine"))
