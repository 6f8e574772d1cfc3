"""The steps of the wizard: what each shows of what was found, and what it asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from choline_tui.model.words import dollars, size, span
from choline_tui.screens.wizard.fields import Facts, Line, Tick, Ticks

if TYPE_CHECKING:
    from choline_tui.services.setup import Draft

__all__ = ["STEPS", "TEMPLATE", "Spec", "Step"]

Spec = Facts | Line | Ticks
Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """``keys``: what of the file it asks; ``build``: what it is made of."""

    id: str
    title: str
    about: str
    keys: tuple[str, ...]
    build: "Callable[[Draft], list[Spec]]"


def _line(
    draft: "Draft", key: str, label: str, help: str = "", empty: str = "", *, short: bool = False
) -> Line:
    wrong = draft.wrong.get(key, ("", ""))[1]
    where = draft.where(key)
    others = draft.others.get(key, ())
    return Line(key, label, help, draft.typed(key), where, others, empty, wrong, short)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# -------------------------------------------------------------------------------------------- template


def _template(draft: "Draft") -> list[Spec]:
    items = []
    for name, each in draft.templates.items():
        values = each.values
        said = (str(values.get(key, "")) for key in ("gpu", "query", "image", "command"))
        note = f"cannot be used: {each.wrong}" if each.wrong else ", ".join(word for word in said if word)
        items.append(Tick(name, name, note, name == draft.template))
    ticks = Ticks(
        "template", "Begin with a set-up you kept", "Its answers come before what was found.",
        tuple(items), single=True,
    )  # fmt: skip
    chosen = draft.templates.get(draft.template)
    rows: list[Row] = []
    for key, value in chosen.flat().items() if chosen is not None else ():
        rows.append((key, str(value), ""))
    return [ticks, Facts(tuple(rows[:30]), "template-says")]


# ------------------------------------------------------------------------------------------------ code


def _code(draft: "Draft") -> list[Spec]:
    seen, found = draft.seen, draft.seen.survey
    rows: list[Row] = []
    if found.git is not None:
        rows.append(("git", f"{found.git.value} {found.git.note}".strip(), ""))
        rows.append(("", "A run takes the commit and every change to it, saved or not.", "dim"))
    else:
        rows.append(("git", "none here: files are copied, without what the ignore rules name", ""))
    rows.append(("code", f"{_count(found.sent_files, 'file')}, {size(found.sent_bytes)}", ""))
    for older in seen.older.files:
        taken = [t.key for t in seen.older.taken if t.where.partition(":")[0] == older]
        rows.append(("older file", f"{older}: {'took ' + ', '.join(taken) if taken else 'took nothing'}", ""))
    rows += [("!", text, "warn") for text in (*seen.older.told, *found.notes)]
    name = _line(draft, "name", "Name", "What runs are called in the lists.", draft.directory.name)
    if found.git is None:
        return [Facts(tuple(rows)), name]
    clone = Ticks(
        "code.clone",
        "How it gets to a machine",
        "",
        (
            Tick(
                True,
                "cloned there",
                "only what its remote does not have is sent",
                bool(draft.get("code.clone")),
            ),
        ),
    )
    return [Facts(tuple(rows)), name, clone]


# ------------------------------------------------------------------------------------------------ data


def _sums(draft: "Draft") -> list[Row]:
    """What is sent to every machine, how long that takes and what it costs, at typical rates."""
    from choline_tui.services.setup import DOWN_COST, UPLOAD_MBIT

    sending = draft.sending()
    text = f"{size(sending.bytes)} to every machine: {span(sending.seconds)} at {UPLOAD_MBIT:g} Mbit/s up"
    rows = [("in all", text, "warn" if sending.seconds > 3600 else "")]
    cost = f"{dollars(sending.dollars, 2)} for receiving it at ${DOWN_COST:g}/GB"
    price = draft.get("max_price")
    if isinstance(price, (int, float)) and not isinstance(price, bool):
        cost += f", {dollars(price * sending.seconds / 3600, 2)} for the machine that waits at ${price:g}/h"
    rows.append(("costs", cost, ""))
    return rows


def _data(draft: "Draft") -> list[Spec]:
    from choline_tui.services.setup import path_of

    found = draft.seen.survey
    chosen = list(draft.get("send") or ())
    items = []
    for each in found.data:
        mine = next((item for item in chosen if path_of(item) == each.path), None)
        note = f"{size(each.bytes)}, {_count(each.files, 'file')}, {each.why}"
        if each.sent:
            note += f"; {size(each.sent)} of it goes with the code"
        items.append(Tick(mine if mine is not None else each.path, each.path, note, mine is not None))
    known = {each.path for each in found.data}
    for item in chosen:
        if path_of(item) not in known:
            into = str(item.get("into", "")) if isinstance(item, Mapping) else ""
            items.append(Tick(item, path_of(item), f"into data/{into}" if into else "", True))
    ticks = Ticks(
        "send", "Sent to data/ beside the code", "Each lies in $CHOLINE_DATA on the machine, under its name.",
        tuple(items), "another path: ../corpus, /data/imagenet, ~/models", none="None was found.",
        wrong=draft.wrong.get("send", ("", ""))[1],
    )  # fmt: skip
    return [ticks, Facts(tuple(_sums(draft)), "sums")]


# ------------------------------------------------------------------------------------------- ignore rules


def _ignore(draft: "Draft") -> list[Spec]:
    found = draft.seen.survey
    chosen = [str(each) for each in draft.get("exclude") or ()]
    items: list[Tick] = []
    for each in found.secret_files:
        items.append(Tick(_anchored(each.value), _anchored(each.value), f"holds {each.note}"))
    for each in found.large:
        items.append(Tick(_anchored(each.value), _anchored(each.value), f"{size(int(each.note))}, large"))
    items = [Tick(i.value, i.label, i.note, i.value in chosen) for i in items]
    known = {item.value for item in items}
    items += [Tick(each, each, "", True) for each in dict.fromkeys(chosen) if each not in known]
    rows: list[Row] = []
    for name, number in found.ignore_files:
        rows.append((name, f"{_count(number, 'rule')}, kept to", ""))
    if not found.ignore_files:
        rows.append(("rules", "no .gitignore and no .cholineignore here", ""))
    rows.append(("code", f"{_count(found.sent_files, 'file')}, {size(found.sent_bytes)} as it was found", ""))
    loose = [item for item in items if not item.on and item.value in known]
    if loose:
        rows.append(("!", f"{_count(len(loose), 'file')} below would go to every machine", "warn"))
    ticks = Ticks(
        "exclude", "Not sent", "Patterns as in .gitignore; results and their directories never are.",
        tuple(items), "another pattern: *.ckpt, /notebooks/", none="Nothing large, no file of secrets.",
        wrong=draft.wrong.get("exclude", ("", ""))[1],
    )  # fmt: skip
    return [Facts(tuple(rows)), ticks]


def _anchored(path: str) -> str:
    from choline_tui.services.project import as_pattern

    return "/" + as_pattern(path)


# -------------------------------------------------------------------------------------------- environment


def _environment(draft: "Draft") -> list[Spec]:
    found = draft.seen.survey
    rows: list[Row] = []
    python = "; ".join(f"{f.value} ({f.where})" for f in found.python[:3])
    rows.append(("Python", python or "nothing says which", "" if python else "dim"))
    wanted = ", ".join(f.value for f in found.dependencies[:6])
    rows.append(("packages", wanted or "no lock and no requirements found", "" if wanted else "warn"))
    if found.packages:
        rows.append(
            ("installed", f"{_count(len(found.packages), 'package')} ({found.packages[0].where})", "")
        )
    cuda = "; ".join(f"{f.value} ({f.where}: {f.note})" for f in found.cuda[:3])
    if cuda:
        rows.append(("CUDA", cuda, ""))
    if found.cudnn:
        rows.append(("cuDNN", "; ".join(f"{f.value} ({f.where})" for f in found.cudnn[:2]), ""))
    source = draft.get("environment.from")
    kinds = [Tick(f.value, f.value, "uv installs them on the machine", False)
             for f in found.dependencies[:5]]  # fmt: skip
    if isinstance(source, str) and source not in ("auto", "image", *(tick.value for tick in kinds)):
        kinds.append(Tick(source, source))
    kinds.append(Tick("image", "the image has it all", "no packages are installed"))
    packages = Ticks(
        "environment.from", "Packages of the project", "",
        tuple(Tick(k.value, k.label, k.note, k.value == source) for k in kinds),
        single=True, wrong=draft.wrong.get("environment.from", ("", ""))[1],
    )  # fmt: skip
    wanted_python = _line(draft, "environment.python", "Python", "such as 3.11", "as found", short=True)
    setup = _line(
        draft, "setup", "Set-up before the command",
        "Shell commands of each attempt, after the packages.", "nothing",
    )  # fmt: skip
    image = _line(draft, "image", "Container image", "", draft.seen.settings.image)
    return [Facts(tuple(rows)), packages, wanted_python, setup, image]


# ------------------------------------------------------------------------------------- command, results


def _command(draft: "Draft") -> list[Spec]:
    rows: list[Row] = []
    trackers = ", ".join(f"{f.value} ({f.where})" for f in draft.seen.survey.trackers)
    if trackers:
        rows.append(("tracking", trackers, ""))
    line = _line(
        draft, "command", "Command that trains",
        "In the project's directory; data lies in $CHOLINE_DATA, $CHOLINE_RESULTS comes home.",
        "python train.py",
    )  # fmt: skip
    tty = Ticks(
        "tty",
        "Terminal",
        "",
        (Tick(True, "a terminal of its own", "choline attach RUN", bool(draft.get("tty"))),),
    )
    return [Facts(tuple(rows)), line, tty]


def _results(draft: "Draft") -> list[Spec]:
    found = draft.seen.survey
    chosen = [str(each) for each in draft.get("results") or ()]
    items = []
    for each in found.results:
        note = each.why if not each.bytes else f"{size(each.bytes)} here, {each.why}"
        items.append(Tick(each.path, each.path, note, each.path in chosen))
    known = {each.path for each in found.results}
    items += [Tick(each, each, "", True) for each in dict.fromkeys(chosen) if each not in known]
    every = span(draft.seen.settings.results_every)
    rows: list[Row] = [
        ("", f"They come home every {every} while it runs, and all of them before the machine goes.", "dim")
    ]
    ticks = Ticks(
        "results", "Directories that are results", "The checkpoints too: what the command writes.",
        tuple(items), "another directory: checkpoints, runs/exp",
        none="None was found: what is written to $CHOLINE_RESULTS comes home in any case.",
        wrong=draft.wrong.get("results", ("", ""))[1],
    )  # fmt: skip
    patterns = tuple(Tick(str(p), str(p), "", True) for p in draft.get("results_exclude") or ())
    left = Ticks(
        "results_exclude", "Results that never come home", "", patterns, "a pattern: *.tmp, wandb/",
        wrong=draft.wrong.get("results_exclude", ("", ""))[1],
    )  # fmt: skip
    into = _line(draft, "results_dir", "They come home to", "a directory for each run", "results", short=True)
    keep = _line(draft, "results_keep", "Earlier versions", "kept in .versions/", "1", short=True)
    also = _line(
        draft,
        "results_also",
        "A second home",
        "Written by the machine itself, with nobody awake.",
        "s3://bucket/runs",
    )
    return [ticks, left, into, keep, also, Facts(tuple(rows), "results-say")]


# ---------------------------------------------------------------------------------------------- hardware


KINDS = (
    ("on-demand", "stays until you end it"),
    ("interruptible", "cheaper; gone when somebody bids more"),
)


def _hardware(draft: "Draft") -> list[Spec]:
    found = draft.seen.survey
    rows: list[Row] = []
    here = ", ".join(f"{f.value} ({f.note})" for f in found.gpus[:4])
    rows.append(("here", here or "no NVIDIA GPU on this computer", "" if here else "dim"))
    if found.cuda:
        first = found.cuda[0]
        rows.append(
            ("CUDA", f"{first.value}, which the driver must be able to ({first.where}: {first.note})", "")
        )
    rows.append(("to send", size(draft.sending().bytes), ""))
    gpu = _line(draft, "gpu", "Number and kind of GPUs", "", "1x4090")
    query = _line(
        draft, "query", "More conditions over offers",
        "As in 'choline offers': gpu_ram>=40 inet_down>=500. ctrl+f tries them on the market.",
        "cuda_max_good>=12.8",
    )  # fmt: skip
    from choline_tui.services.hardware import vram_of

    vram = Line(
        "vram", "VRAM of each, GB", "at least; a condition above", vram_of(draft.typed("query")), short=True
    )
    usual_disk = f"{draft.seen.settings.disk:g}"
    disk = _line(draft, "disk", "Disk, GB", "image, packages, data, results", usual_disk, short=True)
    kind = draft.get("type")
    usual = draft.seen.settings.type
    kinds = tuple(
        Tick(name, name, f"{about}{' (the default)' if name == usual else ''}", name == kind)
        for name, about in KINDS
    )
    return [
        Facts(tuple(rows)),
        gpu,
        query,
        vram,
        disk,
        Ticks("type", "Kind of rental", "", kinds, single=True),
    ]


# ------------------------------------------------------------------------------------------------ limits


def _limits(draft: "Draft") -> list[Spec]:
    usual = draft.seen.settings
    life = draft.typed("run.max_life") or span_text(usual.max_life)
    lease = draft.typed("run.lease") or span_text(usual.lease)
    grace = draft.typed("run.grace") or span_text(usual.grace)
    most = f"{usual.max_price:g}" if usual.max_price is not None else "no limit"
    rows: list[Row] = [
        ("", "When this computer is off, or away from the network:", "dim"),
        ("it runs", f"the run goes on for {lease}, then its machine ends itself", ""),
        ("it ended", f"its machine waits {grace} for home, then ends itself", ""),
        (
            "ends itself",
            "destroyed when the results are safe; else stopped: GPU off, disk kept and billed",
            "",
        ),
        ("always", f"{life} after renting it ends, whatever happens", ""),
    ]

    def short(key: str, label: str, help: str, empty: str) -> Line:
        return _line(draft, key, label, help, empty, short=True)

    return [
        short("max_price", "Most $/h, with disk", "nothing dearer is rented", most),
        short("premium", "Premium, %", "above an offer's price", f"{usual.premium:g}"),
        short("run.max_life", "Longest life", "of a machine", span_text(usual.max_life)),
        short("run.lease", "Lease", "longest silence of home", span_text(usual.lease)),
        short("run.grace", "Grace", "waits for home, at the end", span_text(usual.grace)),
        Facts(tuple(rows), "unreachable"),
    ]


def span_text(seconds: float) -> str:
    from choline_tui.model.duration import format_duration

    return format_duration(seconds)


# ----------------------------------------------------------------------------------------------- secrets


def _secrets(draft: "Draft") -> list[Spec]:
    from choline_tui.services.setup import secret_places

    chosen = [str(each) for each in draft.get("secrets") or ()]
    needed = {each.value: each.where for each in draft.seen.survey.needs}
    places = secret_places(draft.seen)
    items = []
    for name in [*needed, *(name for name in places if name not in needed)][:60]:
        found = ", ".join(places.get(name, [])[:3])
        note = f"****  {found}" if found else "has no value here"
        if name in needed:
            note += f"; {needed[name]} needs it"
        items.append(Tick(name, name, note, name in chosen))
    known = {item.value for item in items}
    items += [Tick(name, name, "", True) for name in dict.fromkeys(chosen) if name not in known]
    rows: list[Row] = []
    for name, where in needed.items():
        if name not in chosen and name in places:
            rows.append(("!", f"{where} seems to need {name}, which is not ticked", "warn"))
    secrets = Ticks(
        "secrets", "Secrets the command needs, by name",
        "Only names stand in the file; values are looked up here, and never shown.",
        tuple(items), "another name: HF_TOKEN", none="No names of secrets were found.",
        wrong=draft.wrong.get("secrets", ("", ""))[1],
    )  # fmt: skip
    variables = tuple(Tick(f"{n}={v}", f"{n}={v}", "", True) for n, v in draft.env().items())
    plain = Ticks(
        "env", "Variables of the command", "They stand in the file as they are: never a secret.",
        variables, "SEED=7", none="None yet.", wrong=draft.wrong.get("env", ("", ""))[1],
    )  # fmt: skip
    return [secrets, Facts(tuple(rows), "secrets-say"), plain]


TEMPLATE = Step("template", "Template", "a set-up of another project", (), _template)
"""first, when there are any"""

STEPS: tuple[Step, ...] = (
    Step("code", "Code", "what a run is made of", ("name", "code.clone"), _code),
    Step("data", "Data", "what is sent beside the code", ("send",), _data),
    Step("ignore", "Ignore rules", "what of the code stays at home", ("exclude",), _ignore),
    Step(
        "environment", "Environment", "Python, packages, image",
        ("environment.from", "environment.python", "setup", "image"), _environment,
    ),
    Step("command", "Command", "what runs", ("command", "tty"), _command),
    Step(
        "results", "Results", "what comes home",
        ("results", "results_exclude", "results_dir", "results_keep", "results_also"), _results,
    ),
    Step("hardware", "Hardware", "what is rented", ("gpu", "query", "disk", "type"), _hardware),
    Step(
        "limits", "Limits", "what it may cost, and when home is away",
        ("max_price", "premium", "run.max_life", "run.lease", "run.grace"), _limits,
    ),
    Step("secrets", "Secrets", "variables, and secrets by name", ("secrets", "env"), _secrets),
)  # fmt: skip
