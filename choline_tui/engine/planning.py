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
from choline_tui.engine.environment import check_setup, fitting_driver, plan_environment
from choline_tui.engine.secrets import named
from choline_tui.kernel.errors import NoOffer, ProjectError, UsageError
from choline_tui.model.choose import choose, plan_price
from choline_tui.model.conditions import Condition, Order, Query
from choline_tui.model.duration import format_duration
from choline_tui.model.environment import Environment
from choline_tui.model.fit_environment import driver_bounds
from choline_tui.model.here import HERE, plan_here
from choline_tui.model.image import cuda_of, image_for
from choline_tui.model.offer import Offer, OfferPage
from choline_tui.model.query import gpu_spec, parse_query
from choline_tui.model.request import RunRequest
from choline_tui.model.run import Plan, Registry, Rental, RentalType, Run, SecondHome, SendItem

__all__ = ["Draft", "cap_from", "draft", "new_id", "when_unreachable"]

LETTERS = "abcdefghjkmnpqrstuvwxyz"
ALPHABET = LETTERS + "23456789"
ANY_PRICE = 100_000.0
GPU_FIELDS = ("gpu_name", "num_gpus", "gpu_ram", "gpu_total_ram", "gpu_frac", "compute_cap")


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
    request: RunRequest,
    paths: Paths,
    environ: Mapping[str, str],
    like: Run | None,
    rented: Rental | None = None,
) -> tuple[Draft, Settings]:
    """``like``: the run that is repeated; ``rented``: what was rented for it last.

    Raises the UsageErrors of config, project and query; UsageError when there is no command.
    """
    if like is not None and request.like_what == "plan":
        return _draft_like(request, paths, environ, like, rented)
    project, directory = _project(request)
    if like is not None:
        request = _on_such_a_machine(request, like, rented, project)
    loaded = load(paths, environ, project)
    settings, run = loaded.settings, loaded.settings.run
    disk = request.disk if request.disk is not None else run.disk
    kind = request.type or run.type
    own_words = f"{request.query} {project.query if project else ''}"
    query = _query(request, project, disk, kind)
    image = request.image or run.image
    if loaded.origins["run.image"] == "default" and not request.image:
        image = _image(image, project, query)
    query = _fitting(query, request, image, own_words)
    environment = plan_environment(
        project.environment if project else None, directory, request.env_from, query, image, disk,
        here=request.place == HERE,
    )  # fmt: skip
    query = fitting_driver(query, environment, named=request.offer is not None)
    max_price = request.max_price if request.max_price is not None else run.max_price
    command = request.command or (project.command if project else "")
    if not command:
        raise UsageError(
            "there is no command to run",
            hint="Give it after '--' (choline run --gpu 4090 -- python train.py); see 'choline init'."
            if like is None
            else f"Give it after '--'. The command of then, with its code, is 'choline again {like.id}'.",
        )
    results_dir = project.results_dir if project else "results"
    env = {**(project.env if project else {}), **request.env}
    plan = Plan(
        project=str(directory),
        command=command,
        setup=project.setup if project else "",
        environment=environment,
        name=request.name or (project.name if project else "") or directory.name[:60],
        note=request.note,
        query=query.text(),
        type=kind,
        disk_gb=disk,
        image=image,
        registry=_registry(project),
        offer_id=request.offer,
        machine_id=request.machine_id,
        cap=max_price or ANY_PRICE,
        bid=request.bid,
        env=env,
        secrets=named(
            request,
            env,
            project.secrets if project else (),
            like.plan.secrets if like is not None and request.like else (),
        ),
        ports=request.ports,
        send=[SendItem(**s.model_dump()) for s in (project.data() if project else [])],
        results=list(project.results) if project else [],
        results_into=str(directory / results_dir),
        results_every_s=run.results_every,
        results_settle_s=run.results_settle,
        disk_pause=run.disk_pause,
        results_exclude=list(project.results_exclude) if project else [],
        results_keep=project.results_keep if project else 1,
        results_also=_second_home(project, env),
        max_life_s=request.max_life_s or run.max_life,
        lease_s=run.lease,
        grace_s=run.grace,
        stop_grace_s=run.stop_grace,
        boot_limit_s=run.boot_limit,
        ssh_limit_s=run.ssh_limit,
        tries=request.tries or run.tries,
        wait_s=request.wait_s if request.wait_s is not None else run.wait,
        keep_s=request.keep_s or 0.0,
        tty=request.tty if request.tty is not None else bool(project and project.tty),
    )
    check_setup(plan)
    premium = request.premium if request.premium is not None else run.premium
    capped = max_price is not None and request.premium is None
    if request.place == HERE:
        plan = plan_here(plan)
    return Draft(plan, query, project, directory, premium, capped), settings


def _second_home(project: Project | None, env: Mapping[str, str]) -> SecondHome | None:
    """Variables of the run that name the place are no secrets."""
    also = project.results_also if project else None
    if also is None:
        return None
    return SecondHome(
        url=also.to,
        endpoint=also.endpoint or env.get("AWS_ENDPOINT_URL_S3", "") or env.get("AWS_ENDPOINT_URL", ""),
        region=also.region or env.get("AWS_REGION", "") or env.get("AWS_DEFAULT_REGION", ""),
    )


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
        if request.place == HERE:
            return replace(query, disk_gb=disk, type=kind)
        raise UsageError(
            "which GPU? Nothing says what to rent",
            hint="Give --gpu 1x4090, --query '...', --offer ID, or gpu = \"...\" in choline.toml.",
        )
    return replace(query, disk_gb=disk, type=kind, order=(Order("dph_total"),))


def _registry(project: Project | None) -> Registry | None:
    table = project.registry if project is not None else None
    if table is None:
        return None
    return Registry(server=table.server, user=table.user, secret=table.password_secret)


def _image(default: str, project: Project | None, query: Query) -> str:
    """For a run that names none, where an environment is built: one with the CUDA that it names, and that the
    query's drivers support."""
    table = project.environment if project else None
    if table is None or table.from_ == "image":
        return default
    wanted = table.cuda if table.cuda not in ("auto", "cpu") else ""
    return image_for(default, wanted=wanted, at_most=driver_bounds(query)[1])


def _fitting(query: Query, request: RunRequest, image: str, own_words: str) -> Query:
    """Offers whose driver would refuse the image are left out, unless the person says which offer, or
    anything of CUDA, themselves."""
    cuda = cuda_of(image)
    if cuda is None or "cuda" in own_words.lower() or request.offer is not None:
        return query
    return _also(query, f"cuda_max_good>={cuda}")


def _also(query: Query, text: str) -> Query:
    return query.with_conditions(*parse_query(text, defaults=False).conditions)


def _on_such_a_machine(
    request: RunRequest, like: Run, rented: Rental | None, project: Project | None
) -> RunRequest:
    """The request with what ``like`` was rented by where it says nothing itself; what is run, and where its
    results go, is the present project's. A cap made from a premium asked for now is over prices of now."""
    old = like.plan
    found: dict[str, Any] = {
        "type": request.type or old.type,
        "disk": request.disk if request.disk is not None else old.disk_gb,
        "image": request.image or (project.image if project else None) or old.image,
        "max_life_s": request.max_life_s or old.max_life_s,
        "tries": request.tries or old.tries,
        "wait_s": request.wait_s if request.wait_s is not None else old.wait_s,
    }
    if request.max_price is None and request.premium is None:
        found["max_price"] = old.cap
    if request.bid is None and found["type"] == "interruptible":
        found["bid"] = old.bid
    if not request.gpu and not request.query and request.offer is None and request.machine_id is None:
        found["query"] = _conditions_of(like, rented).text()
        found["machine_id"] = old.machine_id
    return request.model_copy(update=found)


def _conditions_of(like: Run, rented: Rental | None) -> Query:
    """What a run was rented by. An offer that was named is gone; the GPUs it had are asked for instead."""
    query = parse_query(like.plan.query)
    kept = tuple(c for c in query.conditions if c.field != "ask_contract_id")
    if len(kept) < len(query.conditions) and not any(c.field in GPU_FIELDS for c in kept):
        if rented is None or not rented.gpu_name or not rented.num_gpus:
            raise UsageError(
                f"run {like.id} was for offer {like.plan.offer_id} alone, and nothing says what that had",
                hint="Say which GPU: --gpu 1x4090.",
            )
        gpus = (
            Condition("gpu_name", "eq", rented.gpu_name),
            Condition("num_gpus", "eq", rented.num_gpus),
        )
        return replace(query, conditions=kept).with_conditions(*gpus)
    return replace(query, conditions=kept)


def _draft_like(
    request: RunRequest, paths: Paths, environ: Mapping[str, str], like: Run, rented: Rental | None
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
        "tty": request.tty,
    }
    plan = old.but(**{k: v for k, v in changes.items() if v not in ("", None)})
    plan = plan.but(
        on="",
        env={**old.env, **request.env},
        secrets=named(request, {**old.env, **request.env}, old.secrets),
        ports=request.ports or old.ports,
        results_into=str(Path(old.results_into).parent) if old.results_into else "",
        offer_id=request.offer,  # the offer of then is gone; what it was like is in the query
        machine_id=request.machine_id or (old.machine_id if not request.gpu and not request.query else None),
    )
    if request.gpu or request.query or request.offer is not None or request.machine_id is not None:
        query = _query(request, None, plan.disk_gb, plan.type)
        query = _fitting(query, request, plan.image, request.query)
    else:
        query = replace(
            _conditions_of(like, rented), disk_gb=plan.disk_gb, type=plan.type, order=(Order("dph_total"),)
        )
        if request.image:
            query = _fitting(query, request, request.image, "")
    if request.env_from or not request.same_code:
        plan = plan.but(environment=_environment_anew(request, plan, project, directory, query))
        query = fitting_driver(query, plan.environment, named=request.offer is not None)
    plan = plan.but(query=query.text())
    if (request.place or old.place) == HERE:
        return Draft(plan_here(plan), query, project, directory, 0.0, True), settings
    if old.place == HERE:
        return _no_longer_here(request, plan, query, project, directory, settings), settings
    if request.premium is None:
        return Draft(plan, query, project, directory, 0.0, True), settings
    # a premium asked for now is over what the market asks now, not over the price of then
    plan = plan.but(cap=request.max_price or ANY_PRICE)
    return Draft(plan, query, project, directory, request.premium, False), settings


def _no_longer_here(
    request: RunRequest,
    plan: Plan,
    query: Query,
    project: Project | None,
    directory: Path,
    settings: Settings,
) -> Draft:
    """What was rehearsed on this computer, for a rented machine: there was no cap to repeat."""
    said = {c for c in query.conditions if c not in parse_query("").conditions}
    if not said and not plan.offer_id and not plan.machine_id:
        raise UsageError(
            "which GPU? The run of this computer does not say what to rent", hint="Give --gpu 1x4090, say."
        )
    run = settings.run
    most = request.max_price or run.max_price
    plan = plan.but(place="vast", cap=most or ANY_PRICE, lease_s=run.lease)
    premium = request.premium if request.premium is not None else run.premium
    return Draft(plan, query, project, directory, premium, most is not None and request.premium is None)


def _environment_anew(
    request: RunRequest, plan: Plan, project: Project | None, directory: Path, query: Query
) -> Environment | None:
    """For code that is not that of then."""
    if plan.environment is None and not request.env_from:
        return None
    table = project.environment if project else None
    source = request.env_from or ("" if table else "auto")
    return plan_environment(table, directory, source, query, plan.image, plan.disk_gb)


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
    safe = f"home or in {plan.results_also.url}" if plan.results_also is not None else "home"
    lease, grace, life = map(format_duration, (plan.lease_s, plan.grace_s, plan.max_life_s))
    return (
        f"the run goes on for {lease} without this computer; after that, or {grace} after its end, the "
        f"machine stops itself (GPU off, disk kept and billed) until the results are {safe}; once they are, "
        f"it is destroyed. {life} after renting it ends whatever happens."
    )
