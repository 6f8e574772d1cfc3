"""What a person asks for when they start a run: everything optional, the rest comes from the project,
the home's settings and the defaults, in this order."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from choline_tui.model.run import Plan

__all__ = ["PlanCard", "RunRequest"]


Money = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
"""$/h. Zero is no price: taken for "not said", it would be no cap at all."""
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")]
Seconds = Annotated[float, Field(ge=0, le=10 * 365 * 86400, allow_inf_nan=False)]


class RunRequest(BaseModel):
    """None or empty: not said. Money $/h, disk GB, durations s."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project: str
    """absolute directory the run is started from (a project is looked for from here upwards)"""
    command: str = ""
    like: str = ""
    """repeat this run's plan (and, with ``same_code``, its frozen code)"""
    same_code: bool = False
    like_what: Literal["plan", "machine"] = "plan"
    """of the run that is repeated: all of its plan, or what it was rented by (query, type, disk, cap, image)
    for what the present project says"""
    commit: str = Field(default="", max_length=250)
    """send the code of this commit (a name git has for one), not the working tree's"""
    branch: str = Field(default="", max_length=250)
    """send the code of this branch as it is on its remote, where the machine clones it if it can; with
    ``commit`` (a full hash) as it was seen there"""
    place: Literal["", "vast", "here"] = ""
    on: str = Field(default="", max_length=300)
    """run on this rental, which was kept: its id, contract, label, or a run that had it"""
    gpu: str = ""
    query: str = ""
    offer: int | None = None
    machine_id: int | None = None
    name: str = ""
    note: str = ""
    image: str = ""
    env_from: str = Field(default="", max_length=300)
    """file that the environment is built from, over ``[environment]``; ``auto``, ``image``"""
    disk: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = None
    type: Literal["on-demand", "interruptible", ""] = ""
    premium: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    max_price: Money | None = None
    bid: Money | None = None
    env: dict[str, str] = Field(default_factory=dict)
    secrets: Annotated[list[SecretName], Field(max_length=100)] = Field(default_factory=list)
    """names of variables whose values are looked up, and kept nowhere; more than the project's"""
    ports: list[str] = Field(default_factory=list)
    keep_s: Seconds | None = None
    tty: bool | None = None
    """a terminal of its own for the command"""
    max_life_s: Annotated[float, Field(ge=60, le=10 * 365 * 86400, allow_inf_nan=False)] | None = None
    wait_s: Seconds | None = None
    tries: Annotated[int, Field(ge=1, le=100)] | None = None


class PlanCard(BaseModel):
    """What would be done, before anything is spent. Prices are $/h at the plan's disk."""

    model_config = ConfigDict(extra="ignore")

    plan: Plan
    offer: dict[str, Any] | None = None
    """the offer that would be tried first (fields of ``Offer``)"""
    price: float | None = None
    bid: float | None = None
    rental: dict[str, Any] | None = None
    """the kept machine it would run on instead (fields of ``Rental``); nothing is rented then"""
    offers: int = 0
    """offers under the cap that may be tried"""
    offers_seen: int = 0
    complete: bool = False
    commit: str = ""
    branch: str = ""
    clone: str = ""
    """where the machine clones the commit from, '' when it is sent from here"""
    dirty: int = 0
    """files that differ from the commit"""
    changed_lines: int = 0
    """lines added and removed in them"""
    files: int = 0
    bytes: int = 0
    data_bytes: int = 0
    """of local paths"""
    fetch_bytes: int = 0
    """of what the machine fetches itself, as far as its size is known"""
    fetch_unknown: list[str] = Field(default_factory=list)
    """sources that this computer could not ask for their size"""
    send_s: float = 0.0
    """s that sending takes at a typical speed, if the machine has none of it yet"""
    fetch_s: float | None = 0.0
    """s that fetching takes at the speed the machine is offered with"""
    traffic: float | None = None
    """$ for these bytes"""
    disk_per_day: float | None = None
    """$ a day of the disk alone, if the machine is stopped"""
    secrets: dict[str, str] = Field(default_factory=dict)
    """names, with where their values are; '' for one that is missing"""
    warnings: list[str] = Field(default_factory=list)
    when_unreachable: str = ""
    """what happens when home cannot be reached (rule 4), in words"""
    credit: float | None = None
