"""What goes to the market and comes back, apart from offers and instances."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from pydantic import AliasChoices, Field

from choline_tui.kernel.errors import BadRequest
from choline_tui.kernel.secret import Secret
from choline_tui.model.instance import Instance
from choline_tui.model.market_types import Count, Foreign, Num, Text
from choline_tui.model.price import MAX_BID, MIN_BID

__all__ = ["Account", "Copier", "KeyReport", "Listing", "RentRequest", "Rented", "Scope", "SshKey"]

MAX_ONSTART = 4096
"""characters; the market refuses more"""
MAX_LABEL = 256
MAX_ENV = 32768
MAX_ENV_NAME = 256
MAX_PORTS = 64

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PORT = re.compile(r"(\d{1,5})(?::(\d{1,5}))?(?:/(?:tcp|udp))?", re.ASCII)


@dataclass(frozen=True)
class RentRequest:
    """What to rent an offer for. ``price`` ($/h, disk not included) makes it interruptible, its absence
    on-demand, whatever was searched for. Values that may be secret are not in the repr."""

    image: str
    disk_gb: float
    label: str
    onstart: str = field(default="", repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[str, ...] = ()
    price: float | None = None
    runtype: str = "ssh_direc ssh_proxy"
    """the official client's words for SSH, direct with the proxy beside it"""
    image_login: str | None = field(default=None, repr=False)

    def secrets(self) -> tuple[str, ...]:
        """Texts that must not come back in an error."""
        login = self.image_login.split() if self.image_login else []
        return (*self.env.values(), *login)

    def check(self) -> None:
        """Raises BadRequest for what the market would refuse, before anything is sent."""
        if not self.image.strip() or len(self.image) > 1024 or re.search(r"\s", self.image):
            raise BadRequest("an image is needed, like pytorch/pytorch:2.4.0-cuda12.4-cudnn9-devel")
        if not isfinite(self.disk_gb) or self.disk_gb <= 0:
            raise BadRequest("the disk must be a positive number of GB")
        if len(self.label) > MAX_LABEL:
            raise BadRequest(f"a label has at most {MAX_LABEL} characters, this one {len(self.label)}")
        if len(self.onstart) > MAX_ONSTART:
            raise BadRequest(
                f"onstart has at most {MAX_ONSTART} characters, this one {len(self.onstart)}",
                hint="Put the rest into the project's setup.",
            )
        if self.price is not None and not MIN_BID <= self.price <= MAX_BID:
            raise BadRequest(f"a bid is between {MIN_BID} and {MAX_BID:g} $/h")
        for name in self.env:
            # the market reads names that begin with - as container options
            if not _ENV_NAME.fullmatch(name) or len(name) > MAX_ENV_NAME:
                raise BadRequest(f"{name[:60]!r} is not the name of an environment variable")
        if len(self.ports) > MAX_PORTS:
            raise BadRequest(f"at most {MAX_PORTS} ports")
        for port in self.ports:
            found = _PORT.fullmatch(port)
            if found is None or not all(int(each) >= 1 for each in found.groups() if each is not None):
                raise BadRequest(
                    f"{port[:40]!r} is not a port", hint="For example 8080, 8080:8080 or 6006/tcp."
                )
        size = sum(len(name) + len(value) for name, value in self._env().items())
        if size > MAX_ENV:
            raise BadRequest(f"the environment has at most {MAX_ENV} characters, this one {size}")

    def _env(self) -> dict[str, str]:
        flags = {}
        for port in self.ports:
            inner, slash, protocol = port.partition("/")
            flags[f"-p {inner if ':' in inner else f'{inner}:{inner}'}{slash}{protocol}"] = "1"
        return {**self.env, **flags}

    def body(self) -> dict[str, Any]:
        """The request as the official client sends it, with cancel_unavail: fail rather than leave a
        stopped contract. Raises BadRequest."""
        self.check()
        return {
            "client_id": "me",
            "image": self.image,
            "env": self._env(),
            "price": self.price,
            "disk": float(self.disk_gb),
            "label": self.label,
            "extra": None,
            "onstart": self.onstart or None,
            "image_login": self.image_login,
            "python_utf8": False,
            "lang_utf8": False,
            "use_jupyter_lab": False,
            "jupyter_dir": None,
            "force": False,
            "cancel_unavail": True,
            "template_hash_id": None,
            "user": None,
            "runtype": self.runtype,
        }


@dataclass(frozen=True)
class Rented:
    """A contract made. ``instance_api_key`` may stop and destroy this contract and nothing else."""

    contract_id: int
    instance_api_key: Secret | None


@dataclass(frozen=True)
class Listing:
    """Every contract of the account, complete and checked, at one time (epoch s)."""

    instances: tuple[Instance, ...]
    seen_at: float

    def labelled(self, label: str) -> tuple[Instance, ...]:
        return tuple(each for each in self.instances if each.label == label)

    def get(self, contract_id: int) -> Instance | None:
        return next((each for each in self.instances if each.id == contract_id), None)


@dataclass(frozen=True)
class Copier:
    """Where a host's copier answers SSH: rsync as ``vastai_kaalia@HOST::C.ID//PATH``."""

    host: str
    port: int


class Account(Foreign):
    """The account, without its key. ``credit`` ($) is what can be spent; ``balance`` the running ledger."""

    id: Count = None
    key_id: Count = None
    email: Text = None
    username: Text = None
    credit: Num = None
    balance: Num = None
    balance_threshold: Num = None


class SshKey(Foreign):
    id: Count = None
    key: Text = Field(default=None, validation_alias=AliasChoices("key", "public_key", "ssh_key"))
    """an OpenSSH public key line"""


Scope = Literal["allowed", "denied", "unknown"]


@dataclass(frozen=True)
class KeyReport:
    """What a key may do, found out by reading only."""

    valid: bool
    scopes: dict[str, Scope]
    """by permission category of the market"""
    needed: tuple[str, ...]
    """categories choline needs"""
    advice: tuple[str, ...]
    """what to do, a sentence each"""
    account: Account | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.needed if self.scopes.get(name) == "denied")

    @property
    def unneeded(self) -> tuple[str, ...]:
        """Categories the key has and choline does not need."""
        return tuple(n for n, scope in self.scopes.items() if scope == "allowed" and n not in self.needed)
