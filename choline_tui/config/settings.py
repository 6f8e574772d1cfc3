"""Every setting there is, with its unit, bounds and default. Reading them is ``home``'s part.

Durations are written ``90s``, ``30m``, ``24h``, ``2d``, or as a number of seconds.
"""

import ipaddress
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from choline_tui.model.duration import parse_duration

__all__ = [
    "Duration",
    "EngineSettings",
    "RunSettings",
    "SearchSettings",
    "Settings",
    "UiSettings",
    "VastSettings",
    "is_rehearsal",
]


def _url(value: str) -> str:
    """A server's base address without a closing slash. The key travels there: plain HTTP is for this
    computer and private networks only."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a web address") from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in value):
        raise ValueError("is not a web address (https://...)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must be a plain address, without user, query or fragment")
    if parts.scheme == "http" and not _nearby(host):
        raise ValueError("must begin with https: the key would travel unencrypted")
    return value.rstrip("/")


def _nearby(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
    return address.is_loopback or address.is_private


def is_rehearsal(url: str) -> bool:
    """Whether a market's address is this computer's own: nobody's real money."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # no address at all, or a name
        return False


def _key(value: Any) -> Any:
    if isinstance(value, str):
        if not value.isascii() or not value.isprintable() or " " in value or not 0 < len(value) <= 4096:
            raise ValueError("is not a key (one word of printable characters)")
        return SecretStr(value)
    if value is None or isinstance(value, SecretStr):
        return value
    raise ValueError("needs text in quotes")


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than 0 s")
    return value


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds; read from text such as ``24h``."""
Span = Annotated[Duration, AfterValidator(_positive)]

_TABLE = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class VastSettings(BaseModel):
    """Which market, and the key to it."""

    model_config = _TABLE

    key: Annotated[SecretStr | None, BeforeValidator(_key)] = Field(
        None, description="API key of the market; VAST_API_KEY overrides it; default: none"
    )
    url: Annotated[str, AfterValidator(_url)] = Field(
        "https://console.vast.ai",
        description="address of the market; VAST_URL overrides it; default https://console.vast.ai",
    )
    paced: bool = Field(
        True,
        description="keep to Vast's documented pace of requests; false is for a rehearsal market on this "
        "computer and heeded for no other; default true",
    )

    @property
    def rehearsal(self) -> bool:
        """The market is one of this computer."""
        return is_rehearsal(self.url)


class RunSettings(BaseModel):
    """What a run uses when neither the command nor the project says otherwise."""

    model_config = _TABLE

    image: str = Field(
        "pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime",
        min_length=1,
        max_length=1024,
        description="container image; default pytorch/pytorch:2.7.1-cuda12.6-cudnn9-runtime",
    )
    disk: float = Field(20.0, ge=1, le=100_000, description="disk in GB; default 20")
    premium: float = Field(
        10.0, ge=0, le=1000, description="percent above an offer's hourly price that may be paid; default 10"
    )
    max_price: float | None = Field(
        None, gt=0, le=100_000, description="most $/h, disk included, that may be rented; default: no limit"
    )
    type: Literal["on-demand", "interruptible"] = Field(
        "on-demand", description="kind of rental: on-demand or interruptible; default on-demand"
    )
    max_life: Span = Field(
        86_400.0, description="a rental ends itself this long after renting, whatever happens; default 24h"
    )
    lease: Span = Field(
        43_200.0, description="how long a rental may go on without hearing from home; default 12h"
    )
    grace: Duration = Field(
        1800.0, description="how long an ended run waits for home before its machine stops; default 30m"
    )
    boot_limit: Span = Field(
        1200.0, description="how long a machine may take to start before the next one is tried; default 20m"
    )
    tries: int = Field(5, ge=1, le=100, description="offers tried before a run gives up; default 5")
    wait: Duration = Field(600.0, description="how long to look for an offer before giving up; default 10m")
    ssh_limit: Span = Field(
        300.0, description="how long SSH may stay silent on a running machine; default 5m"
    )
    stop_grace: Duration = Field(
        30.0, description="how long a command may take to end when it is stopped; default 30s"
    )
    results_every: Span = Field(
        180.0,
        description="how often results come home meanwhile; a new checkpoint comes at once; default 3m",
    )
    disk_pause: bool = Field(
        True,
        description="stop a command's processes (SIGSTOP) while the machine's disk is full, until there is "
        "room again; false lets them fail to write; default true",
    )
    results_settle: Span = Field(
        10.0,
        description="how long a result file must stay unchanged to count as whole; default 10s",
    )


class SearchSettings(BaseModel):
    """How much is asked of the market."""

    model_config = _TABLE

    daily: int = Field(
        1000, ge=10, le=100_000, description="searches a day at most, our own ration; default 1000"
    )
    reserve: int = Field(
        200, ge=0, le=100_000, description="searches of the day kept for scheduled rents; default 200"
    )


class UiSettings(BaseModel):
    """How things are drawn."""

    model_config = _TABLE

    color: Literal["auto", "always", "never"] = Field(
        "auto", description="colour in command output: auto (a terminal, and no NO_COLOR), always or never"
    )
    theme: str = Field(
        "choline-dark",
        pattern=r"^[a-z0-9-]{1,40}$",
        description="colours of the screens: choline-dark, choline-light, choline-safe (for eyes that do not"
        " tell red from green) or one of Textual's; default choline-dark",
    )
    ascii: bool = Field(False, description="signs of the screens in plain ASCII; default false")
    animations: bool = Field(False, description="things move smoothly instead of at once; default false")
    readonly: bool = Field(
        False,
        description="the screens neither spend nor destroy, and the engine refuses it to them; default false",
    )


class EngineSettings(BaseModel):
    """The process that acts."""

    model_config = _TABLE

    idle_exit: Duration = Field(
        900.0, description="the engine ends after this long with nothing to do, 0 for never; default 15m"
    )
    boot_poll: Span = Field(3.0, description="how often a starting machine is looked at; default 3s")
    watch: Span = Field(30.0, description="how often a machine that is up is looked at; default 30s")
    settle: Span = Field(
        90.0,
        description="how long the listing is searched after an unclear rent call before it counts as"
        " never carried out; default 90s",
    )
    copy_after: Duration = Field(
        600.0,
        description="how long a machine stands, and cannot be started, before its results are fetched from"
        " its disk by its host's copier; default 10m",
    )


def _dotted(value: Any, prefix: str = "") -> Any:
    """Names with dots, however the file nests them: ``offers.export = "E"`` is a table to TOML."""
    if not isinstance(value, dict):
        return value
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat |= _dotted(inner, f"{prefix}{name}.")
        else:
            flat[prefix + name] = inner
    return flat


Keys = Annotated[dict[str, str], BeforeValidator(_dotted)]
"""id of an action -> keys, such as ``e`` or ``e,ctrl+e``. Which actions there are the screens know."""


class Settings(BaseModel):
    """All settings of this home."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    KEYS: ClassVar[str] = "keys"
    """the table whose names are not ours to know"""

    vast: VastSettings = Field(default_factory=VastSettings)
    run: RunSettings = Field(default_factory=RunSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    ui: UiSettings = Field(default_factory=UiSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    keys: Keys = Field(
        default_factory=dict,
        description="keys of the screens' actions, by the action's id as the help shows it:"
        ' "offers.export" = "E"; several with commas; default: none changed',
    )
