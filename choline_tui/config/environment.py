"""``[environment]`` of a project's ``choline.toml``: what uv builds on the machine before the command runs.

::

    [environment]
    from = "uv.lock"                  # default: the lock, else the requirements, that is found; "image": none
    python = "3.11"                   # default: what the project says, else the machine's own
    extras = ["train"]
    apt = ["ffmpeg"]
    cuda = "12.6"                     # or "cpu"; default: what the packages and the drivers agree on
    index = "https://pypi.example.org/simple"
"""

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["EnvironmentTable", "readable_source"]

_SOURCES = re.compile(
    r"uv\.lock|poetry\.lock|Pipfile(\.lock)?|pyproject\.toml|setup\.py|environment[\w.-]*\.ya?ml|[\w.-]+\.txt"
)


def readable_source(value: str) -> str:
    """A file that an environment can be built from, or ``auto`` or ``image``. Raises ValueError."""
    if value in ("auto", "image"):
        return value
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value or not _SOURCES.fullmatch(path.name):
        raise ValueError(
            'needs "image", or a file of the project: uv.lock, poetry.lock, requirements.txt, '
            "pyproject.toml, Pipfile, Pipfile.lock or environment.yml"
        )
    return str(path)


def _python(value: str) -> str:
    wanted = value.replace(" ", "")
    if not re.fullmatch(r"\d+(\.\d+){0,2}|([<>=!~]=?\d+(\.\d+)*(\.\*)?,?)+", wanted, re.ASCII):
        raise ValueError('needs a version such as "3.11", or a range such as ">=3.10,<3.13"')
    return wanted


def _apt(value: list[str]) -> list[str]:
    for name in value:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*(=[\w.+:~-]+)?", name, re.ASCII):
            raise ValueError(f"{name[:60]!r} is not the name of a Debian package")
    return value


def _names(value: list[str]) -> list[str]:
    for name in value:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name, re.ASCII):
            raise ValueError(f"{name[:60]!r} is not the name of an extra or a group")
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"(https?|file)://[^\s'\"\\]+", value, re.ASCII):
        raise ValueError("needs an address such as https://pypi.example.org/simple")
    if re.match(r"[a-z]+://[^/]*@", value):
        raise ValueError(
            "holds a name or password: a credential does not belong into the file. Name a secret that uv "
            'reads, such as secrets = ["UV_INDEX_URL"], in place of it'
        )
    return value


def _urls(value: list[str]) -> list[str]:
    return [_url(each) for each in value]


def _cuda(value: str) -> str:
    if value not in ("auto", "cpu") and not re.fullmatch(r"\d{1,2}\.\d", value):
        raise ValueError('needs "auto", "cpu" or a version such as "12.6"')
    return value


class EnvironmentTable(BaseModel):
    """What ``[environment]`` says. An empty table builds what is found."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: Annotated[str, AfterValidator(readable_source)] = Field(
        "auto",
        alias="from",
        max_length=300,
        description='file that says which packages, or "image": it has them; default auto: a lock wins, then '
        "requirements, pyproject.toml, Pipfile, environment.yml",
    )
    python: Annotated[str, AfterValidator(_python)] | None = Field(
        None, max_length=60, description="version of Python, such as 3.11; default: what the project says"
    )
    extras: Annotated[list[str], AfterValidator(_names)] = Field(
        default_factory=list, max_length=50, description="extras of the project that are installed too"
    )
    groups: Annotated[list[str], AfterValidator(_names)] = Field(
        default_factory=list, max_length=50, description="dependency groups that are installed too"
    )
    apt: Annotated[list[str], AfterValidator(_apt)] = Field(
        default_factory=list, max_length=200, description="Debian packages that the machine must have"
    )
    cuda: Annotated[str, AfterValidator(_cuda)] = Field(
        "auto",
        description='CUDA that torch is built for: a version such as 12.6, "cpu", or auto (the default): '
        "what the lock pins, else what the machines of the query run",
    )
    index: Annotated[str, AfterValidator(_url)] | None = Field(
        None, max_length=1000, description="package index instead of PyPI; never with a password in it"
    )
    extra_index: Annotated[list[str], AfterValidator(_urls)] = Field(
        default_factory=list, max_length=20, description="package indexes that are asked first"
    )
