"""What a survey finds: every fact with the file, variable or program it was seen in."""

from dataclasses import dataclass, field

__all__ = ["Directory", "Finding", "Survey", "tellable"]


@dataclass(frozen=True)
class Finding:
    """``where``: a path relative to the project, a variable or a program; with ``:LINE`` where a line is
    meant. ``value`` and ``note`` may hold foreign text: draw them as plain text only."""

    value: str
    where: str
    note: str = ""


@dataclass(frozen=True)
class Directory:
    """A directory that looks like data or results. ``bytes``: of all files below it; ``sent``: bytes of them
    that go with the code."""

    path: str
    bytes: int
    files: int
    sent: int
    why: str


@dataclass
class Survey:
    """Lists are in order of trust: the first is the best guess."""

    directory: str
    git: Finding | None = None
    commands: list[Finding] = field(default_factory=list)
    python: list[Finding] = field(default_factory=list)
    dependencies: list[Finding] = field(default_factory=list)
    """files that name what is to be installed; ``note`` is the kind: uv, poetry, requirements, pyproject,
    pipenv, conda"""
    packages: list[Finding] = field(default_factory=list)
    """of the active environment: ``name==version``"""
    cuda: list[Finding] = field(default_factory=list)
    """``value``: a version such as 12.8; ``note``: what says so"""
    cudnn: list[Finding] = field(default_factory=list)
    """as ``cuda``: 9.7; what packages bring, then what this computer has"""
    gpus: list[Finding] = field(default_factory=list)
    """of this computer"""
    images: list[Finding] = field(default_factory=list)
    data: list[Directory] = field(default_factory=list)
    results: list[Directory] = field(default_factory=list)
    large: list[Finding] = field(default_factory=list)
    """files of 100 MB and more that would go with the code; ``note``: bytes"""
    trackers: list[Finding] = field(default_factory=list)
    secrets: list[Finding] = field(default_factory=list)
    """names of variables and machines; a value is never read into a finding"""
    needs: list[Finding] = field(default_factory=list)
    """names of secret variables that the code seems to need, each where it first does"""
    secret_files: list[Finding] = field(default_factory=list)
    """files with secrets that would go with the code"""
    ignore_files: list[tuple[str, int]] = field(default_factory=list)
    """``.gitignore`` and ``.cholineignore`` of the project's directory, with their number of rules"""
    sent_files: int = 0
    sent_bytes: int = 0
    notes: list[str] = field(default_factory=list)
    """what could not be looked at, and why"""


def tellable(text: str) -> bool:
    """Whether a name can stand in a settings file and on a screen as it is."""
    if not text or len(text) > 500 or not text.isprintable():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
