"""A project's ``choline.toml``: the command, what it needs, what is sent and what comes home.

::

    command = "python train.py"
    gpu = "2x4090"                    # or: query = "gpu_ram>=40 num_gpus=1"
    image = "pytorch/pytorch:latest"
    disk = 40                         # GB
    max_price = 0.9                   # $/h, disk included
    setup = "pip install -r requirements.txt"
    send = ["../corpus", {path = "s3://bucket/imagenet", into = "imagenet"}]
    results = ["checkpoints"]
    results_exclude = ["*.tmp", "wandb/"]
    results_keep = 1
    results_also = "s3://bucket/runs"
    tty = true                        # a terminal of its own: choline attach RUN
    secrets = ["WANDB_API_KEY"]       # names; the values are looked up when a run starts


    [environment]                     # what uv builds before setup: see config/environment.py
    from = "uv.lock"

    [code]                            # the machine clones what the remote has: see config/code.py
    clone = true

    [env]
    SEED = "7"

    [filter]                          # as the offers screen exports it: query, type, disk, max_price
    query = "gpu_ram>=40 inet_down>=500"

    [run]                             # any other setting of [run] in the home file
    max_life = "48h"
"""

import os
import re
import shlex
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    model_validator,
)

from choline_tui.config.code import CodeTable
from choline_tui.config.environment import EnvironmentTable
from choline_tui.config.registry import RegistryTable
from choline_tui.config.settings import RunSettings
from choline_tui.config.toml import checked, leaves, read_toml
from choline_tui.kernel.errors import ProjectError
from choline_tui.kernel.source import is_source, parse
from choline_tui.model.filters import Filter
from choline_tui.model.tokens import TOO_OPEN, token_kind, why_not

__all__ = ["KEPT_HERE", "PROJECT_FILE", "Project", "Send", "find_project", "load_project", "read_project"]

PROJECT_FILE = "choline.toml"
KEPT_HERE = ("/.env",)
"""pattern of what is not sent with the code of a run that has secrets"""

_OVERRIDES = ("image", "disk", "premium", "type", "max_price")
"""settings of [run] that may also stand at the top of the project's file"""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _inside(value: str) -> str:
    """A relative path that cannot leave where it starts."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value or not path.parts:
        raise ValueError("needs a relative path that stays inside the project")
    return str(path)


def _pattern(value: str) -> str:
    bare = value.strip("/")
    if not bare or "\0" in value or value.startswith("!") or ".." in bare.split("/"):
        raise ValueError('needs a pattern of names, such as "*.tmp" or "wandb/"')
    if not bare.strip("*/"):
        raise ValueError("leaves out every result: nothing would come home")
    if "[" in bare:
        raise ValueError("takes * and ? only, no [...]")
    return value


def _into(value: str) -> str:
    if value in ("", "."):
        return ""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError("needs a relative path below data/")
    return str(path)


def _command(value: Any) -> Any:
    if isinstance(value, list):
        if not value or not all(isinstance(word, str) for word in value):
            raise ValueError("needs text, or a list of words in quotes")
        return shlex.join(value)
    return value


def _one_path(value: Any) -> Any:
    if isinstance(value, str):
        return {"path": value}
    if isinstance(value, dict):
        return value
    raise ValueError('needs a path in quotes, or {path = "...", into = "..."}')


def _env(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if not _ENV_NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is not a name a variable can have")
        if name.startswith("CHOLINE_"):
            raise ValueError(f"{name[:60]} is set by choline itself")
        if "\0" in value[name]:
            raise ValueError(f"the value of {name[:60]} holds a zero byte")
    return value


def _secrets(value: list[str]) -> list[str]:
    for name in value:
        if not _ENV_NAME.fullmatch(name):
            # never the text: it may be the secret itself
            raise ValueError('needs names of variables, such as ["WANDB_API_KEY"]; values stand elsewhere')
        if why := why_not(name):
            raise ValueError(why)
    return list(dict.fromkeys(value))


def _path_or_source(value: str) -> str:
    if is_source(value):
        parse(value)
    return value


def _one_bucket(value: Any) -> Any:
    return {"to": value} if isinstance(value, str) else value


def _bucket(value: str) -> str:
    if parse(value).scheme != "s3":
        raise ValueError("needs an address such as s3://bucket/prefix")
    return value


def _endpoint(value: str) -> str:
    if value:
        from choline_tui.kernel.s3 import Bucket  # late: few projects need what it loads

        Bucket("none", value)
    return value


class Send(BaseModel):
    """Something to send to the run's ``data/`` beside the code, or for the machine to fetch there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[str, AfterValidator(_path_or_source)] = Field(
        min_length=1,
        description="file or directory; relative to the project, or absolute, or ~; or what the machine "
        "fetches itself: https://... (#sha256=HEX checks it), s3://bucket/prefix",
    )
    into: Annotated[str, AfterValidator(_into)] = Field(
        "", description="directory below data/; default: data/"
    )
    credentials: Annotated[list[str], AfterValidator(_secrets)] = Field(
        default_factory=list,
        max_length=20,
        description="names of secrets that fetching it needs, such as AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY; for https:// one that holds a token",
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "", max_length=1000, description="https:// address of an S3 that is not Amazon's"
    )
    region: str = Field("", max_length=100, description="region of the bucket; default us-east-1")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not is_source(self.path) and (self.credentials or self.endpoint or self.region):
            raise ValueError("credentials, endpoint and region are for what the machine fetches itself")
        return self

    @property
    def remote(self) -> bool:
        """Whether the machine fetches it."""
        return is_source(self.path)


class Also(BaseModel):
    """A second home of the results."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: Annotated[str, AfterValidator(_bucket)] = Field(
        description="s3://bucket/prefix; each run gets a folder below it"
    )
    credentials: Annotated[list[str], AfterValidator(_secrets)] = Field(
        default_factory=lambda: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
        max_length=20,
        description="names of secrets that writing there needs; default AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY",
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        "", max_length=1000, description="https:// address of an S3 that is not Amazon's"
    )
    region: str = Field("", max_length=100, description="region of the bucket; default us-east-1")


class Project(BaseModel):
    """What ``choline.toml`` says. Nothing is required: a command may also come from the command line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[str, BeforeValidator(_command)] = Field(
        "", max_length=1 << 20, description="what runs, as text for the shell or a list of words"
    )
    setup: str = Field("", max_length=1 << 20, description="shell commands before it, each attempt")
    environment: EnvironmentTable | None = Field(
        None, description="packages that uv installs on the machine, before setup; empty: what is found"
    )
    code: CodeTable | None = Field(
        None,
        description="how the code gets to the machine: sent from here, or cloned there and sent what differs",
    )
    registry: RegistryTable | None = Field(
        None, description="who fetches the container image, where it is not public"
    )
    name: str = Field("", max_length=100, description="what runs of this project are called")
    gpu: str = Field("", max_length=200, description="number and kind of GPUs, such as 2x4090")
    query: str = Field(
        "", max_length=4000, description="conditions over offers, as in 'choline offers QUERY'"
    )
    image: str | None = Field(None, description="container image, over [run] of the home file")
    disk: float | None = Field(None, description="disk in GB, over [run] of the home file")
    premium: float | None = Field(None, description="percent above the shown price that may be paid")
    max_price: float | None = Field(None, description="most $/h, disk included; 'cap' is the same")
    cap: float | None = Field(None, description="the same as max_price: $/h")
    type: str | None = Field(None, description="on-demand or interruptible")
    send: list[Annotated[Send, BeforeValidator(_one_path)]] = Field(
        default_factory=list,
        max_length=1000,
        description="data for data/: paths, or https:// and s3:// addresses that the machine fetches itself; "
        "a machine gets it once, however many runs use it",
    )
    exclude: list[str] = Field(
        default_factory=list,
        max_length=1000,
        description="patterns of code that is not sent, as in .gitignore",
    )
    results: list[Annotated[str, AfterValidator(_inside)]] = Field(
        default_factory=list,
        max_length=100,
        description="directories of the project that are results; on the remote they lie in results/",
    )
    results_also: Annotated[Also, BeforeValidator(_one_bucket)] | None = Field(
        None,
        description="a second home of the results, which the machine writes by itself: s3://bucket/prefix; "
        "or {to, credentials, endpoint, region}",
    )
    results_exclude: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        default_factory=list,
        max_length=100,
        description="patterns of results that never come home, as in .gitignore; they go with the machine",
    )
    results_keep: int = Field(
        1,
        ge=0,
        le=1000,
        description="earlier versions of a result file that stay at home in .versions/, as disk allows; "
        "default 1",
    )
    results_dir: Annotated[str, AfterValidator(_inside)] = Field(
        "results", description="where results come home, inside the project; default results"
    )
    tty: bool = Field(
        False, description="whether the command runs on a terminal of its own, to attach to; default false"
    )
    env: Annotated[dict[str, str], AfterValidator(_env)] = Field(
        default_factory=dict, max_length=1000, description="variables of the command; never a secret"
    )
    secrets: Annotated[list[str], AfterValidator(_secrets)] = Field(
        default_factory=list,
        max_length=100,
        description="names of variables whose values are secret: looked up when a run starts, in the "
        "environment, .env (which is not sent then), .netrc and the system keyring; kept in no file of "
        "choline's",
    )
    run: dict[str, Any] = Field(default_factory=dict, description="settings of [run], over the home file")
    filter: Filter | None = Field(
        None, description="an exported filter: its query comes before query, the rest holds where unsaid"
    )

    _directory: Path = PrivateAttr(default=Path())

    @property
    def directory(self) -> Path:
        """Absolute directory of the project."""
        return self._directory

    def overrides(self) -> dict[str, Any]:
        """What stands in this file over [run] of the home file, by name."""
        found = dict(self.run)
        for name in _OVERRIDES:
            value = getattr(self, name)
            if value is not None:
                found[name] = value
        if self.cap is not None:
            found["max_price"] = self.cap
        return found

    @property
    def excluded(self) -> tuple[str, ...]:
        """Patterns for the frozen copy: ``exclude``, and the directories results come home to. A file that
        secrets are read from is not copied, neither into this home nor to a machine."""
        kept = KEPT_HERE if self.secrets else ()
        return (*self.exclude, *kept, f"/{self.results_dir}/", *(f"/{path}/" for path in self.results))

    def data(self) -> list[Send]:
        """``send`` with absolute paths; what the machine fetches as it stands. ``ProjectError`` names a path
        that is not there."""
        found = []
        for item in self.send:
            if item.remote:
                found.append(item)
                continue
            path = Path(os.path.abspath(self.directory / Path(item.path).expanduser()))
            if not path.exists():
                raise ProjectError(
                    f"{self.directory / PROJECT_FILE}: send: there is no {path}",
                    hint="Correct the path, or make the data first.",
                )
            found.append(Send(path=str(path), into=item.into))
        return found


def find_project(start: Path) -> Path | None:
    """The nearest directory with a ``choline.toml``: ``start`` or one above it; None when there is none."""
    here = Path(os.path.abspath(start))
    for directory in (here, *here.parents):
        if (directory / PROJECT_FILE).is_file():
            return directory
    return None


def load_project(directory: Path) -> Project:
    """The project in ``directory``. ``ProjectError`` names the file, the key and what is wrong."""
    directory = Path(os.path.abspath(directory))
    file = directory / PROJECT_FILE
    try:
        data = read_toml(file, ProjectError)
    except FileNotFoundError:
        raise ProjectError(
            f"there is no {PROJECT_FILE} in {directory}",
            hint="'choline init' writes one; or give the command: choline run --gpu 4090 -- python train.py",
        ) from None
    return read_project(data, directory)


def read_project(data: dict[str, Any], directory: Path) -> Project:
    """A project from what its file holds. ``ProjectError``, with the key in ``details['key']``, as
    ``load_project``."""
    file = directory / PROJECT_FILE
    _no_secrets_in(data, str(file))
    of_run = tuple(f"run.{name}" for name in leaves(RunSettings))
    project = checked(Project, data, str(file), ProjectError, known=of_run)
    top = {name for name in _OVERRIDES if getattr(project, name) is not None}
    needed = [name for item in project.send for name in item.credentials]
    needed += project.results_also.credentials if project.results_also else []
    needed += [project.registry.password_secret] if project.registry else []
    needed += [project.code.token] if project.code and project.code.token else []
    project = project.model_copy(update={"secrets": list(dict.fromkeys([*project.secrets, *needed]))})
    both = sorted(set(project.secrets) & set(project.env))
    if both:
        raise ProjectError(
            f"{file}: {both[0]} stands in [env] and in secrets; keep one of them", key="secrets"
        )
    if project.cap is not None:
        if project.max_price is not None:
            raise ProjectError(f"{file}: cap and max_price are the same; keep one of them")
        top.add("max_price")
    twice = sorted(top & set(project.run))
    if twice:
        raise ProjectError(f"{file}: {twice[0]} stands at the top and in [run]; keep one of them")
    checked(RunSettings, project.run, f"{file}: [run]", ProjectError)
    checked(RunSettings, project.overrides(), str(file), ProjectError)
    project = _with_filter(project)
    project._directory = directory
    return project


def _no_secrets_in(data: Any, file: str, key: str = "", name: str = "") -> None:
    """ProjectError for a value that looks like a secret; it is not repeated."""
    if isinstance(data, dict):
        for each, value in data.items():
            _no_secrets_in(value, file, f"{key}.{each}" if key else str(each), str(each))
    elif isinstance(data, list):
        for at, value in enumerate(data):
            _no_secrets_in(value, file, f"{key}[{at}]", name)
    elif isinstance(data, str):
        kind = token_kind(data, name if key.startswith("env.") else "")
        if kind:
            own = name if key.startswith("env.") and _ENV_NAME.fullmatch(name) else "NAME"
            raise ProjectError(
                f"{file}: {key}: this looks like {kind}, and a project's file is no place for one",
                hint=f"{TOO_OPEN.format(name=own)}. If the file was ever committed, have the key revoked.",
                key=key,
            )


def _with_filter(project: Project) -> Project:
    """``[filter]`` where it belongs: what stands at the top or in [run] says more."""
    saved = project.filter
    if saved is None:
        return project
    said = project.overrides()
    changes: dict[str, Any] = {"query": f"{saved.query} {project.query}".strip()}
    changes |= {
        name: value
        for name, value in (("type", saved.type), ("disk", saved.disk), ("max_price", saved.max_price))
        if value is not None and name not in said
    }
    return project.model_copy(update=changes)
