"""Does a ``choline.toml`` still fit the project beside it? By looking at names only: quick enough for every
run, where a survey would take seconds."""

import os
import re
import shlex
from pathlib import Path

from choline_tui.config.project import PROJECT_FILE, Project, load_project
from choline_tui.kernel.errors import CholineError
from choline_tui.survey import RESULT_NAMES, tellable

__all__ = ["differences", "misfits", "missing_script"]

LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry", "Pipfile.lock": "pipenv"}
MOST = 10_000
"""names of the directory that are looked at"""


def missing_script(project: Project) -> str:
    """The script that the command starts and that is not there; '' when there is none such."""
    try:
        words = shlex.split(project.command)
    except ValueError:
        return ""
    plain = [w for w in words if not re.fullmatch(r"[A-Za-z_]\w*=.*", w, re.DOTALL)]
    if len(plain) < 2 or plain[0] not in ("python", "python3", "bash", "sh") or not tellable(plain[1]):
        return ""
    script = plain[1]
    ours = script.endswith((".py", ".sh")) and not script.startswith(("/", "~", "$"))
    return script if ours and not (project.directory / script).exists() else ""


def misfits(directory: Path) -> list[str]:
    """What differs, a few words each; [] for a file that fits, and for one that cannot be read: the plan
    says that."""
    try:
        project = load_project(directory)
    except CholineError:
        return []
    script = missing_script(project)
    found = [f"{script}, which the command starts, is not there"] if script else []
    return found + differences(project)


def differences(project: Project) -> list[str]:
    """As ``misfits``, without the command's script."""
    return [*_gone(project), *_renamed(project), *_new_locks(project)]


def _gone(project: Project) -> list[str]:
    """Files that the set-up installs from."""
    named = re.findall(r"(?:^|\s)(?:-r|--requirement)[= ]?\s*([\w./-]+)", project.setup)
    for lock, tool in LOCKS.items():
        if (
            re.search(rf"\b{tool} (?:sync --frozen|install\b.*--deploy|sync\b)", project.setup)
            and tool != "poetry"
        ):
            named.append(lock)
    source = project.environment.from_ if project.environment is not None else "auto"
    if source not in ("auto", "image"):
        named.append(source)
    return [
        f"{name}, which the set-up needs, is gone"
        for name in dict.fromkeys(named)
        if tellable(name) and not name.startswith("/") and not (project.directory / name).exists()
    ]


def _renamed(project: Project) -> list[str]:
    """A directory of results that is not there, while another one that looks like it is."""
    lost = [each for each in project.results if not (project.directory / each).exists()]
    if not lost:
        return []
    known = {each.partition("/")[0] for each in (*project.results, project.results_dir)}
    sent = {item.path.strip("./").partition("/")[0] for item in project.send}
    try:
        with os.scandir(project.directory) as entries:
            names = [
                e.name for _, e in zip(range(MOST), entries, strict=False) if e.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    new = sorted(n for n in names if n.lower() in RESULT_NAMES and n not in known | sent)
    return [f"there is no {lost[0]}, but {new[0]}: where are the results?"] if new else []


def _new_locks(project: Project) -> list[str]:
    """A lock that is newer than the file and that its set-up does not use."""
    source = project.environment.from_ if project.environment is not None else ""
    if source in ("auto", "image"):
        return []  # built from what is found, or from nothing
    found = []
    try:
        written = (project.directory / PROJECT_FILE).stat().st_mtime
        for lock, tool in LOCKS.items():
            path = project.directory / lock
            if (
                path.is_file()
                and path.stat().st_mtime > written
                and lock != source
                and not re.search(rf"\b{tool}\b", project.setup)
            ):
                found.append(f"{lock} is new, and the set-up does not use it")
    except OSError:
        return found
    return found
