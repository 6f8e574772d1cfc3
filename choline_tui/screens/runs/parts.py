"""A run's page in words: its head, timeline, machines and what it is, as facts to be drawn. Pure."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from choline_tui.kernel.source import shown
from choline_tui.model.event_words import STATES, plain_words
from choline_tui.model.words import clean, dollars, number, size, span, when
from choline_tui.screens.runs.cells import alarms, since, state_word
from choline_tui.widgets.facts import Fact
from choline_tui.widgets.glyphs import bar, glyph

if TYPE_CHECKING:
    from choline_tui.model.run import Attempt, Event, Rental
    from choline_tui.services.at_home import Folder
    from choline_tui.services.choline import RunView

__all__ = ["about", "head", "machines", "progress_line", "timeline", "warning_lines"]

Line = list[tuple[str, str]]
"""pieces of (text, style)"""
_WIDE = {"good": "$text-success", "bad": "$text-error", "warn": "$text-warning", "accent": "$text-accent",
         "dim": "$muted", "": ""}  # fmt: skip


def _stamp(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


# ----------------------------------------------------------------------------------------------- head


def head(view: "RunView", now: float, *, colour: str, ascii: bool = False, doing: str = "") -> list[Line]:
    """What it is, what it costs, and what it does. ``doing``: what is under way, such as a transfer."""
    run = view.run
    word = state_word(run)
    rental = view.rental
    dot = f" {glyph('separator', ascii)} "
    first: Line = [(f" {glyph(word, ascii)} {word}", f"bold {_WIDE[colour]}".strip())]
    asked = run.live and run.want == "stop"
    if asked:
        first.append((" stopping", "bold $text-warning"))
    first += [("  ", ""), (clean(run.plan.name, 80), "bold"), (f"  {run.id}", "$muted")]
    if len(view.attempts) > 1:
        first.append((f"  attempt {view.attempts[-1].n}", "$muted"))
    if run.plan.note:
        first.append((f"{dot}{clean(run.plan.note, 200)}", "$muted"))
    rate = view.per_hour()
    age = span(now - since(view))
    how_long = {"running": f"for {age}"}.get(word, f"ended {age} ago" if not run.live else f"made {age} ago")
    pieces = [
        f"{dollars(view.cost(now))} so far" if run.live or rate else f"{dollars(view.cost(now))} in all"
    ]
    if rate:
        pieces.append(f"{dollars(rate)}/h now")
    pieces.append(how_long)
    if rental is not None:
        pieces += [f"{rental.num_gpus}x {clean(rental.gpu_name, 40)}", clean(rental.place_name, 60)]
    if run.live:
        pieces.append(f"at most {dollars(run.plan.cap)}/h")
    if run.exit_code is not None:
        pieces.append(f"exit code {run.exit_code}")
    lines = [first, [(f" {dot.join(p for p in pieces if p)}", "")]]
    why = clean(run.phase if run.live and run.phase else run.reason, 400)
    why = why or (STATES["run"].get(word, "") if run.live else "")
    third: Line = [(f" {doing}", "$text-accent")] if doing else [(f" {why}", "$muted")] if why else []
    lines.append(third or [("", "")])
    return lines


def warning_lines(view: "RunView", now: float, *, ascii: bool = False) -> list[Line]:
    """What should be looked at: a line each, as long as it needs."""
    sign = glyph("warn", ascii)
    found = alarms(view, now)
    if view.run.disk:
        found.append(("disk", clean(view.run.disk, 600), "warn"))
    return [[(f"{sign} {name}: {text}", f"bold {_WIDE[tone]}")] for name, text, tone in found]


def progress_line(
    progress: Mapping[str, object], began: float, start: int, now: float, *, ascii: bool
) -> str:
    """A transfer under way: bar, share, bytes, speed, time left; '' when it is over. ``began``, ``start``:
    when and at how many bytes it was first heard of."""

    def count(name: str) -> float:
        value = progress.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0

    done, total = count("bytes_done"), count("bytes_total")
    if total <= 0 or done >= total:
        return ""
    what = clean(progress.get("what") or "files", 20)
    speed = (done - start) / (now - began) if now > began else 0.0
    left = f", {span((total - done) / speed)} left" if speed > 0 else ""
    fast = f", {size(speed)}/s" if speed > 0 else ""
    share = f"{bar(done / total, 16, ascii)} {done / total:4.0%}"
    spent = f", {dollars(count('dollars'), 2)} so far" if progress.get("dollars") is not None else ""
    return f"{what}  {share}  {size(done)} of {size(total)}{fast}{left}{spent}"


# ------------------------------------------------------------------------------------------- timeline


_TONES = {"releasing": "warn", "gone": "dim", "up": "good", "running": "good", "held": "warn",
          "unknown": "bad", "interrupted": "warn"}  # fmt: skip


def timeline(events: "Sequence[Event]") -> list[Fact]:
    """Each event with its local time; the day and zone where they change."""
    facts: list[Fact] = []
    day = last = ""
    for event in events:
        text = plain_words(event, 1000)
        if not text or (text == last and event.kind in ("run", "attempt")):
            continue
        today = time.strftime("%A, %d %B %Y %Z", time.localtime(event.at))
        if today != day:
            facts.append(Fact("", today, "head"))
            day = today
        facts.append(Fact(_stamp(event.at), text, _tone(event)))
        last = text
    return facts


def _tone(event: "Event") -> str:
    new = str(event.new or "")
    if event.kind == "money":
        return "accent"
    if event.old == event.new:
        return ""
    if new == "ended":
        return "good" if "status 0" in event.text or "ended with 0" in event.text else "accent"
    return _TONES.get(new, "")


# ------------------------------------------------------------------------------------------- machines


def machines(view: "RunView", evidence: "Mapping[str, Folder]", now: float) -> list[Fact]:
    """Attempts and rentals, newest first, and what was kept of those that failed."""
    facts: list[Fact] = []
    seen: set[str] = set()
    for attempt in reversed(view.attempts):
        rental = next((r for r in (*view.rentals, *view.had) if r.id == attempt.rental), None)
        facts += _attempt(attempt)
        if rental is not None:
            seen.add(rental.id)
            facts += _rental(rental, view, evidence.get(rental.id), now)
        facts.append(Fact("", ""))
    for rental in view.rentals:
        if rental.id not in seen:
            facts.append(Fact("", f"Rental {clean(rental.id, 60)}", "head"))
            facts += _rental(rental, view, evidence.get(rental.id), now)
            facts.append(Fact("", ""))
    return facts[:-1]


def _attempt(attempt: "Attempt") -> list[Fact]:
    word = str(attempt.outcome or attempt.state)
    facts = [Fact("", f"Attempt {attempt.n}: {word}", "head")]
    if attempt.reason:
        facts.append(Fact("why", clean(attempt.reason, 600)))
    if attempt.started is not None:
        end = f" to {_stamp(attempt.ended)}" if attempt.ended is not None else ""
        took = f" ({span(attempt.ended - attempt.started)})" if attempt.ended is not None else ""
        facts.append(Fact("ran", f"{_stamp(attempt.started)}{end}{took}"))
    if attempt.exit_code is not None:
        facts.append(Fact("exit code", str(attempt.exit_code), "" if attempt.exit_code == 0 else "bad"))
    if attempt.failures:
        facts.append(Fact("failures", f"{attempt.failures} in a row; tried again", "warn"))
    return facts


def _rental(rental: "Rental", view: "RunView", kept: "Folder | None", now: float) -> list[Fact]:
    if rental.run != view.run.id:
        return _went_on(rental, view, now)
    state = str(rental.state)
    colour = {"up": "good", "gone": "dim"}.get(state, "accent")
    colour = next((tone for name, _, tone in alarms(view, now) if name == clean(rental.id, 60)), colour)
    price = rental.price if rental.price is not None else rental.offer_price
    sure = "" if rental.price is not None else ", as offered"
    machine = f"{rental.num_gpus}x {clean(rental.gpu_name, 60)}, {clean(rental.place_name, 80)}"
    rows = [
        ("rental", f"{clean(rental.id, 60)}, {state}", colour),
        ("machine", f"{machine}, machine {number(rental.machine_id)}, offer {rental.offer_id}", ""),
        ("contract", "" if rental.contract is None else f"{rental.contract}, {rental.type}", ""),
        (
            "price",
            f"{dollars(price)}/h{sure}, with {rental.disk_gb:g} GB disk (cap {dollars(rental.cap)})",
            "",
        ),
        ("bid", "" if rental.bid is None else f"{dollars(rental.bid)}/h", ""),
        ("cost", f"about {dollars(rental.cost_of(view.run.id, now))}", ""),
        ("had by", ", ".join(clean(stay.run, 60) for stay in rental.past), "dim"),
        ("label", clean(rental.label, 120), "dim"),
        ("market says", _seen(rental, now), ""),
        ("trouble", clean(rental.trouble, 400), "warn"),
        ("kept until", when(rental.keep_until, now) if rental.keep_until is not None else "", "warn"),
        ("use it", f"choline run --on {clean(rental.id, 60)}" if state == "held" else "", "dim"),
        ("guard ends it", when(rental.deadline, now) if rental.deadline and rental.live else "", "dim"),
        ("released", clean(rental.release_reason, 400), ""),
        ("gone", when(rental.gone, now) if rental.gone is not None else "", "dim"),
    ]
    facts = [Fact(lead, text, tone) for lead, text, tone in rows if text]
    if kept is not None and kept.files:
        facts.append(Fact("evidence", f"{len(kept.files)} files, {size(kept.total)}; v shows them", "accent"))
        facts += [Fact(" ", f"{size(f.size):>9}  {clean(f.path, 120)}", "dim") for f in kept.files[:20]]
        facts.append(Fact(" ", clean(kept.path, 1000), "dim"))
    elif rental.failed:
        facts.append(Fact("evidence", "none was kept", "dim"))
    return facts


def _went_on(rental: "Rental", view: "RunView", now: float) -> list[Fact]:
    """A machine that another run has now: it bills there."""
    return [
        Fact("rental", f"{clean(rental.id, 60)}: it went on to run {clean(rental.run, 60)}"),
        Fact("machine", f"{rental.num_gpus}x {clean(rental.gpu_name, 60)}, {clean(rental.place_name, 80)}"),
        Fact("cost", f"about {dollars(rental.cost_of(view.run.id, now))} of this run"),
    ]


def _seen(rental: "Rental", now: float) -> str:
    seen = rental.seen
    if seen is None or not rental.live:
        return ""
    said = ": ".join(part for part in (clean(seen.status, 60), clean(seen.message, 200)) if part)
    return f"{said or 'nothing'} ({span(now - seen.at)} ago)"


# ---------------------------------------------------------------------------------------------- about


def about(view: "RunView", now: float) -> list[Fact]:
    """Command, note, code state and plan. Values of variables are left out: they may be secrets."""
    run, plan, code = view.run, view.run.plan, view.run.code
    wanted = ", ".join(
        part for part in (clean(plan.query, 400), f"offer {plan.offer_id}" if plan.offer_id else "",
                          f"machine {plan.machine_id}" if plan.machine_id else "") if part
    )  # fmt: skip
    bid = f", bid {dollars(plan.bid)}/h" if plan.bid is not None else ""
    rows: list[tuple[str, str, str]] = [
        ("", "The run", "head"),
        ("note", clean(plan.note, 1000), ""),
        ("command", clean(plan.command, 2000), ""),
        ("packages", clean(plan.environment.in_words(), 1000) if plan.environment else "", ""),
        ("setup", clean(plan.setup, 2000), ""),
        ("directory", clean(plan.project, 1000), ""),
        ("made", when(run.created, now), ""),
        ("ended", when(run.ended, now) if run.ended is not None else "", ""),
        ("why", clean(run.reason, 600), ""),
        ("disk", clean(run.disk, 600), "warn"),
        ("second home", clean(run.also, 600), ""),
        ("again of", clean(run.like, 60), ""),
        ("", "", ""),
        ("", "Its code", "head"),
    ]
    if code is None:
        rows.append(("code", "not frozen yet", "dim"))
    else:
        dirty = f"{code.dirty_count} files differ from the commit, and were sent" if code.dirty_count else ""
        rows += [
            ("commit", clean(code.commit, 60) or "none: no git, or nothing committed", ""),
            ("message", clean(code.message, 400), ""),
            ("branch", clean(code.branch, 200), ""),
            ("remote", clean(code.remote, 400), ""),
            ("changed", dirty, "warn"),
            ("sent", f"{code.file_count} files, {size(code.total_bytes)}", ""),
            *(("careful", clean(warning, 400), "warn") for warning in code.warnings),
        ]
    rows += [
        ("", "", ""),
        ("", "Its plan", "head"),
        ("wanted", f"{wanted}; {plan.type}, {plan.disk_gb:g} GB disk" if wanted else
         f"{plan.type}, {plan.disk_gb:g} GB disk", ""),
        ("at most", f"{dollars(plan.cap)}/h{bid}", ""),
        ("image", clean(plan.image, 400), ""),
        ("terminal", "of its own: a attaches to it" if plan.tty else "", ""),
        ("variables", ", ".join(clean(n, 60) for n in sorted(plan.env)), ""),
        ("secrets", ", ".join(f"{clean(n, 60)} ({clean(w, 60)})" for n, w in plan.secrets.items()), ""),
        ("ports", ", ".join(clean(p, 40) for p in plan.ports), ""),
        ("data sent", ", ".join(clean(shown(item.path), 200) for item in plan.send), ""),
        ("longest life", span(plan.max_life_s), ""),
        ("lease", f"{span(plan.lease_s)} without word from here", ""),
        ("kept after", span(plan.keep_s) if plan.keep_s else "", ""),
        ("results", clean(plan.results_into, 1000), ""),
    ]  # fmt: skip
    return [Fact(lead, text, tone) for lead, text, tone in rows if text or not lead]
