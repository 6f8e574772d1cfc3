"""From what a person asks for to a frozen plan: request over project over home over defaults."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from choline_tui.config.home import load
from choline_tui.config.paths import Paths
from choline_tui.config.project import Project, find_project, load_project
from choline_tui.config.settings import Settings
from choline_tui.kernel.errors import NoOffer, ProjectError, UsageError
from choline_tui.model.choose import choose, plan_price
from choline_tui.model.conditions import Order, Query
from choline_tui.model.duration import format_duration
from choline_tui.model.image import cuda_of
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.query import gpu_spec, parse_query
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Plan, RentalType, Run, SendItem

__all__ = ["Draft", "cap_from", "draft", "new_id", "when_unreachable"]

LETTERS = "abcdefghjkmnpqrstuvwxyz"
ALPHABET = LETTERS + "23456789"
ANY_PRICE = 100_000.0


def new_id(taken: set[str], length: int = 6) -> str:
    while True:
        made = secrets.choice(LETTERS) + "".join(secrets.choice(ALPHABET) for _ in range(length - 1))
        if made not in taken:
            return made


@dataclass(frozen=True)
class Draft:
    """A plan whose cap may still have to come from the market, and what it was made from."""

    plan: Plan
    query: Query
    project: Project | None
    directory: Path
    premium: float
    capped: bool
    """the cap is the user's own, not to be made from an offer's price"""


def _project(request: RunRequest) -> tuple[Project | None, Path]:
    start = Path(request.project)
    if not start.is_absolute():
        raise ProjectError(f"the project must be an absolute directory, not {request.project!r}")
    try:
        request.project.encode()
    except UnicodeEncodeError:
        raise ProjectError(
            f"the name of the directory is not UTF-8: {os.fsencode(start)!r}",
            hint="Rename it, or start the run from another one.",
        ) from None
    if not start.is_dir():
        raise ProjectError(f"there is no directory {start}", hint="Start the run from one that is there.")
    found = find_project(start)
    if found is None:
        return None, start
    return load_project(found), found


def draft(
    request: RunRequest, paths: Paths, environ: Mapping[str, str], like: Run | None
) -> tuple[Draft, Settings]:
    """Raises the UsageErrors of config, project and query; UsageError when there is no command."""
    if like is not None:
        return _draft_like(request, paths, environ, like)
    project, directory = _project(request)
    settings = load(paths, environ, project).settings
    run = settings.run
    disk = request.disk if request.disk is not None else run.disk
    kind = request.type or run.type
    image = request.image or run.image
    own_words = f"{request.query} {project.query if project else ''}"
    query = _fitting(_query(request, project, disk, kind), request, image, own_words)
    max_price = request.max_price if request.max_price is not None else run.max_price
    command = request.command or (project.command if project else "")
    if not command:
        raise UsageError(
            "there is no command to run",
            hint="Give it after '--' (choline run --gpu 4090 -- python train.py) or in choline.toml.",
        )
    results_dir = project.results_dir if project else "results"
    plan = Plan(
        project=str(directory),
        command=command,
        setup=project.setup if project else "",
        name=request.name or (project.name if project else "") or directory.name[:60],
        note=request.note,
        query=query.text(),
        type=kind,
        disk_gb=disk,
        image=image,
        offer_id=request.offer,
        machine_id=request.machine_id,
        cap=max_price or ANY_PRICE,
        bid=request.bid,
        env={**(project.env if project else {}), **request.env},
        ports=request.ports,
        send=[SendItem(path=s.path, into=s.into) for s in (project.data() if project else [])],
        results=list(project.results) if project else [],
        results_into=str(directory / results_dir),
        results_every_s=run.results_every,
        max_life_s=request.max_life_s or run.max_life,
        lease_s=run.lease,
        grace_s=run.grace,
        stop_grace_s=run.stop_grace,
        boot_limit_s=run.boot_limit,
        ssh_limit_s=run.ssh_limit,
        tries=request.tries or run.tries,
        wait_s=request.wait_s if request.wait_s is not None else run.wait,
        keep_s=request.keep_s or 0.0,
    )
    premium = request.premium if request.premium is not None else run.premium
    capped = max_price is not None and request.premium is None
    return Draft(plan, query, project, directory, premium, capped), settings


def _query(request: RunRequest, project: Project | None, disk: float, kind: RentalType) -> Query:
    text = request.query
    gpu = request.gpu
    if not text and not gpu and request.offer is None and request.machine_id is None and project is not None:
        text, gpu = project.query, project.gpu
    elif project is not None and gpu and not text:
        text = project.query if not project.gpu else ""
    query = parse_query(text)
    if gpu:
        query = query.with_conditions(*gpu_spec(gpu))
    if request.offer is not None:
        query = _also(query, f"ask_contract_id={request.offer}")
    if request.machine_id is not None:
        query = _also(query, f"machine_id={request.machine_id}")
    if not text and not gpu and request.offer is None and request.machine_id is None:
        raise UsageError(
            "which GPU? Nothing says what to rent",
            hint="Give --gpu 1x4090, --query '...', --offer ID, or gpu = \"...\" in choline.toml.",
        )
    return replace(query, disk_gb=disk, type=kind, order=(Order("dph_total"),))


def _fitting(query: Query, request: RunRequest, image: str, own_words: str) -> Query:
    """Offers whose driver would refuse the image are left out, unless the person says which offer, or
    anything of CUDA, themselves."""
    cuda = cuda_of(image)
    if cuda is None or "cuda" in own_words.lower() or request.offer is not None:
        return query
    return _also(query, f"cuda_max_good>={cuda}")


def _also(query: Query, text: str) -> Query:
    return query.with_conditions(*parse_query(text, defaults=False).conditions)


def _draft_like(
    request: RunRequest, paths: Paths, environ: Mapping[str, str], like: Run
) -> tuple[Draft, Settings]:
    old = like.plan
    directory = Path(old.project)
    project = load_project(directory) if (directory / "choline.toml").is_file() else None
    settings = load(paths, environ, project).settings
    changes: dict[str, Any] = {
        "command": request.command,
        "name": request.name,
        "note": request.note,
        "image": request.image,
        "disk_gb": request.disk,
        "type": request.type,
        "cap": request.max_price,
        "bid": request.bid,
        "max_life_s": request.max_life_s,
        "keep_s": request.keep_s,
        "wait_s": request.wait_s,
        "tries": request.tries,
    }
    plan = old.but(**{k: v for k, v in changes.items() if v not in ("", None)})
    plan = plan.but(
        env={**old.env, **request.env},
        ports=request.ports or old.ports,
        results_into=str(Path(old.results_into).parent) if old.results_into else "",
        offer_id=request.offer,  # the offer of then is gone; what it was like is in the query
        machine_id=request.machine_id or (old.machine_id if not request.gpu and not request.query else None),
    )
    if request.gpu or request.query or request.offer is not None or request.machine_id is not None:
        query = _query(request, None, plan.disk_gb, plan.type)
        query = _fitting(query, request, plan.image, request.query)
    else:
        query = parse_query(old.query)
        kept = tuple(c for c in query.conditions if c.field != "ask_contract_id")
        query = replace(
            query, conditions=kept, disk_gb=plan.disk_gb, type=plan.type, order=(Order("dph_total"),)
        )
        if request.image:
            query = _fitting(query, request, request.image, "")
    plan = plan.but(query=query.text())
    if request.premium is None:
        return Draft(plan, query, project, directory, 0.0, True), settings
    # a premium asked for now is over what the market asks now, not over the price of then
    plan = plan.but(cap=request.max_price or ANY_PRICE)
    return Draft(plan, query, project, directory, request.premium, False), settings


def cap_from(made: Draft, page: OfferPage, refused: set[int]) -> tuple[Plan, list[Offer]]:
    """The plan with its cap, and the offers that may be tried under it, best first.

    The cap is the user's own price, or the first offer's price and the premium above it (the lower one
    when both are given). Raises NoOffer, with what would have to change.
    """
    plan = made.plan
    if not made.capped:
        first = next(iter(choose(page.offers, plan, refused, ())), None)
        if first is not None:
            price = plan_price(first, plan)
            assert price is not None
            plan = plan.but(cap=min(plan.cap, round(price[0] * (1 + made.premium / 100), 6)))
    offers = choose(page.offers, plan, refused, ())
    if not offers:
        raise _no_offer(made, page, plan)
    return plan, offers


def _no_offer(made: Draft, page: OfferPage, plan: Plan) -> NoOffer:
    if not page.offers:
        return NoOffer(
            f"no {plan.type} offer matches: {made.query.text() or 'everything'}",
            hint="Loosen the query; 'choline offers' shows what there is.",
        )
    prices = [p for o in page.offers if (p := o.price_at(plan.disk_gb)) is not None]
    cheapest = f"; the cheapest costs ${min(prices):.4f}/h with {plan.disk_gb:g} GB" if prices else ""
    return NoOffer(
        f"{len(page.offers)} offers match, none under the cap of ${plan.cap:.4f}/h{cheapest}",
        hint="Raise --max-price or --premium, or loosen the query.",
    )


def when_unreachable(plan: Plan) -> str:
    """Rule 4's table for this plan, in words for the plan card."""
    lease, grace, life = map(format_duration, (plan.lease_s, plan.grace_s, plan.max_life_s))
    return (
        f"the run goes on for {lease} without this computer; after that, or {grace} after its end, the "
        f"machine stops itself (GPU off, disk kept and billed) until the results are home; once they are, "
        f"it is destroyed. {life} after renting it ends whatever happens."
    )
