"""``choline init``: look at the project, ask plain questions, write ``choline.toml``."""

import argparse
import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from choline_tui.cli.context import Context
from choline_tui.cli.output import clean, folded, size
from choline_tui.cli.values import disk, duration, money
from choline_tui.kernel.errors import UsageError

if TYPE_CHECKING:
    from choline_tui.config.templates import Template
    from choline_tui.services.project import Answer, Look

__all__ = ["configure_init"]

INTERRUPTED = 130
LISTS = ("send", "results", "exclude", "secrets")
NUMBERS = ("max_price", "disk")
OUT = "-"
"""typed for a key that is not to stand in the file"""

EXAMPLES = """\
examples:
  choline init                                  the wizard, with what was found filled in
  choline init --plain                          the same as plain questions
  choline init --yes                            takes what was found
  choline init --yes --gpu 2x4090 --max-price 0.9 --results checkpoints
  choline init --template llm-4090              with a set-up kept by 'choline templates'

Nothing of the project is run. Files .choline.json, choline.yaml and .pitrequest.txt
of older tools are read, and what cannot be taken from them is said. A choline.toml
that is there is edited: what you wrote in it stays, and --yes changes only what
the flags say. Secrets do not belong into it: their names are shown, never a value."""


def configure_init(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("directory", nargs="?", default=".", metavar="DIR", help="the project; default: this directory")
    add("-y", "--yes", action="store_true", help="ask nothing: take what was found, and the flags")
    add("--plain", action="store_true", help="plain questions instead of the wizard")
    add("--template", default="", metavar="NAME|FILE|URL", help="begin with a kept set-up, or one from https")
    add("--dry-run", action="store_true", help="show the file; write nothing")
    add("--history", action="store_true", help="the shell's history may be read for the command")
    add("--no-schema", action="store_false", dest="schema", help="no schema for editors beside the file")
    add("--json", action="store_true", help="one JSON document; needs --yes or --dry-run")
    group = parser.add_argument_group("answers ('' or - takes a key out)")
    add = group.add_argument
    add("--command", dest="command_text", metavar="CMD", help="what trains")
    add("--env-from", metavar="FILE", help="packages that uv installs there; image: it has them")
    add("--setup", metavar="CMD", help="shell commands before it")
    add("--gpu", metavar="2x4090", help="number and kind of GPUs")
    add("--query", metavar="QUERY", help="more conditions over offers")
    add("--max-price", type=_or_out(money), metavar="$/H", help="most $/h, disk included")
    add("--type", choices=("on-demand", "interruptible"), help="kind of rental")
    add("--disk", type=_or_out(disk), metavar="GB", help="disk of the machine")
    add("--image", metavar="NAME", help="container image")
    add("--name", help="what runs are called")
    add("--max-life", type=duration, metavar="24h", help="a rental ends then, whatever happens")
    add("--send", action="append", metavar="PATH", help="data to send to data/; may be given again")
    add("--results", action="append", metavar="PATH", help="directory of results; may be given again")
    add("--exclude", action="append", metavar="PATTERN", help="code not sent; may be given again")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable; never a secret")
    add("--secret", action="append", dest="secrets", metavar="NAME", help="a secret's name; may be repeated")
    parser.set_defaults(handler=init)


def _or_out(kind: Any) -> Any:
    def read(text: str) -> Any:
        return OUT if text in ("", OUT) else kind(text)

    read.__name__ = getattr(kind, "__name__", "value")
    return read


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    """Answers given as flags; None takes a key out."""
    found: dict[str, Any] = {}
    for key in ("command", "setup", "gpu", "query", "max_price", "type", "disk", "image", "name"):
        value = getattr(args, key if key != "command" else "command_text")
        if value is not None:
            found[key] = None if value in ("", OUT) else _plain_number(value)
    if args.env_from is not None:
        found["environment.from"] = None if args.env_from in ("", OUT) else args.env_from
    for key in LISTS:
        value = getattr(args, key)
        if value is not None:
            found[key] = [v for v in value if v not in ("", OUT)] or None
    if args.max_life is not None:
        found["run.max_life"] = _plain_number(args.max_life)
    for item in args.env:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--env {clean(name, 60)} has no value", hint="For example: --env SEED=7")
        found[f"env.{name}"] = value
    return found


def _plain_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def init(args: argparse.Namespace, context: Context) -> int:
    from pathlib import Path

    from choline_tui.services.project import QUESTIONS, Answer, look, propose, rendered, save

    if args.json and not (args.yes or args.dry_run):
        raise UsageError("--json asks nothing", hint="Add --yes, or --dry-run.")
    if not args.yes and not args.dry_run and not context.interactive:
        raise UsageError("nobody can be asked here", hint="--yes takes what was found; --dry-run shows it.")
    directory = Path(args.directory).expanduser().absolute()
    flags = _flags(args)
    asking = context.interactive and not args.yes and not args.dry_run
    template = _template(args, context, asking=asking) if args.template else None
    if args.template and template is None:
        context.out.note("Nothing was written.")
        return INTERRUPTED
    if asking and not args.plain:
        from choline_tui.cli.screens import on_terminal

        if on_terminal(context.environ):
            from choline_tui.cli.setup import open_wizard

            return open_wizard(directory, context, flags, template, args.history, args.schema)
    with context.waiting("looking at the project"):
        seen = look(directory, context.environ, history=args.history)
    answers = propose(seen)
    if template is not None:
        taken = template.flat()
        where = f"template {template.name}"
        answers = [Answer(a.key, taken[a.key], where) if a.key in taken else a for a in answers]
        known = {a.key for a in answers}
        answers += [Answer(key, value, where) for key, value in taken.items() if key not in known]
        # it was asked for, as a flag is; what a question is about is still asked
        flags = {k: v for k, v in taken.items() if not asking or k not in QUESTIONS} | flags
    if not args.json:
        _tell(seen, context)
    if asking:
        values = _ask(answers, flags, seen, context)
    elif seen.current is not None:
        values = flags
    else:
        values = {a.key: a.value for a in answers if a.value is not None} | flags
    found = {a.key: a.where for a in answers if a.where and values.get(a.key) == a.value}
    text = rendered(seen, values, found, schema=args.schema)
    changed = text != (seen.text or "")
    if asking:
        _review(text, seen, context)
        if not _agreed(context, "Write it?" if changed else "Nothing changes. Write it all the same?"):
            context.out.note("Nothing was written.")
            return INTERRUPTED
    file = directory / "choline.toml"
    if not args.dry_run:
        file = save(directory, text, schema=args.schema and "#:schema" in text)
    if args.json:
        context.out.json(_document(seen, answers, text, str(file), written=not args.dry_run))
    elif args.dry_run:
        context.out.stdout.write(text)
    else:
        missing = "" if values.get("command") or (seen.current or {}).get("command") else " (no command yet)"
        context.out.line(f"{clean(str(file), 1000)} {'written' if changed else 'is as it was'}{missing}")
        context.out.note("'choline check' looks at it and at the market; 'choline create' runs it.", "dim")
    return 0


def _template(args: argparse.Namespace, context: Context, *, asking: bool) -> "Template | None":
    """None: it is from elsewhere, was shown, and is not wanted."""
    from choline_tui.cli.templates import agreed_to
    from choline_tui.services.templates import resolve

    with context.waiting("reading the template"):
        template, foreign = resolve(args.template, context.environ)
    if foreign and not agreed_to(template, context, yes=not asking):
        return None
    return template


# ------------------------------------------------------------------------------------------ what was found


def _tell(seen: "Look", context: Context) -> None:
    """What was found, on stderr, so that --dry-run can be written to a file."""
    out, found = context.out, seen.survey
    rows: list[tuple[str, str]] = []
    if found.git is not None:
        rows.append(("git", f"{found.git.value} {found.git.note}"))
    rows.append(("code", f"{found.sent_files} files, {size(found.sent_bytes)}"))
    python = "; ".join(f"{f.value} ({f.where})" for f in found.python[:3])
    rows.append(("Python", python))
    rows.append(("packages", ", ".join(f.value for f in found.dependencies[:6])))
    if found.packages:
        rows.append(("environment", f"{len(found.packages)} packages ({found.packages[0].where})"))
    rows.append(("CUDA", "; ".join(f"{f.value} ({f.where}: {f.note})" for f in found.cuda[:3])))
    rows.append(("cuDNN", "; ".join(f"{f.value} ({f.where})" for f in found.cudnn[:2])))
    rows.append(("GPUs here", ", ".join(f"{f.value}, {f.note}" for f in found.gpus[:8])))
    rows.append(("data", ", ".join(f"{d.path} {size(d.bytes)}" for d in found.data)))
    rows.append(("results", ", ".join(f"{d.path} {size(d.bytes)}" for d in found.results)))
    rows.append(("large files", ", ".join(f"{f.value} {size(int(f.note))}" for f in found.large[:5])))
    rows.append(("tracking", ", ".join(f"{f.value} ({f.where})" for f in found.trackers)))
    rows.append(("secrets", ", ".join(f"{f.value} ({f.where})" for f in found.secrets[:20])))
    for name in seen.older.files:
        taken = [t.key for t in seen.older.taken if t.where.partition(":")[0] == name]
        rows.append(("older file", f"{name}: {'took ' + ', '.join(taken) if taken else 'took nothing'}"))
    for title, text in rows:
        if text:
            out.note(folded(f"{title:<12} {clean(text, 600)}", out.err_width, 13))
    for text in (*seen.older.told, *found.notes):
        out.note(folded(f"! {clean(text, 400)}", out.err_width, 2), "yellow")
    for each in found.secret_files:
        out.note(f"! {clean(each.value, 300)} holds {each.note}; it is not sent unless you say so", "yellow")


def _document(
    seen: "Look", answers: "list[Answer]", text: str, file: str, *, written: bool
) -> dict[str, Any]:
    survey = asdict(seen.survey)
    return {
        "file": file,
        "written": written,
        "text": text,
        "answers": [asdict(answer) for answer in answers if answer.value is not None],
        "found": survey,
        "older": asdict(seen.older),
    }


# ------------------------------------------------------------------------------------------ the questions


def _ask(answers: "list[Answer]", flags: dict[str, Any], seen: "Look", context: Context) -> dict[str, Any]:
    from choline_tui.services.project import QUESTIONS

    out = context.out
    out.note("")
    out.note("Enter takes what stands in [ ], - leaves it out; several are separated by commas.", "dim")
    values = dict(flags)
    for answer in answers:
        if answer.key in flags:
            continue
        if answer.key not in QUESTIONS:
            # only an older file has these; in a file that is there they were decided before
            if seen.current is None:
                values[answer.key] = answer.value
            continue
        if answer.key == "secrets" and not answer.where:
            continue  # nothing seems to need any
        if answer.where:
            out.note(folded(f"  {clean(answer.where, 300)}", out.err_width, 2), "dim")
        for n, other in enumerate(answer.others, 1):
            out.note(folded(f"  {n}: {clean(other, 300)}", out.err_width, 5), "dim")
        while True:
            # the end of the input is an error of its own, outside: asking again would never end
            said = _question(QUESTIONS[answer.key], answer, context)
            try:
                values[answer.key] = _read(answer, said)
                break
            except UsageError as error:
                out.note(f"  {clean(error.message, 300)} {clean(error.hint, 300)}", "yellow")
    if values.get("environment.from") is None and seen.current is None:
        # without packages there is no table: an empty one would mean what is found
        values = {k: v for k, v in values.items() if not k.startswith("environment.") or k in flags}
    return values


def _question(title: str, answer: "Answer", context: Context) -> str:
    shown = clean(_shown(answer.value), 300)
    context.out.stdout.flush()
    context.out.stderr.write(f"{title} [{shown}]: ")
    context.out.stderr.flush()
    try:
        return context.ask("").strip()
    except EOFError:
        raise UsageError("the questions were not answered", hint="Nothing was written.") from None


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(each if isinstance(each, str) else str(each.get("path")) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(answer: "Answer", said: str) -> Any:
    """The value that was typed. Raises UsageError for one that cannot be."""
    if not said:
        return answer.value
    if said == OUT:
        return None
    if said.isdecimal() and 1 <= int(said) <= len(answer.others) and answer.key not in NUMBERS:
        said = answer.others[int(said) - 1]
    if answer.key in LISTS:
        return [piece.strip() for piece in said.split(",") if piece.strip()]
    if answer.key in NUMBERS:
        try:
            return _plain_number((money if answer.key == "max_price" else disk)(said))
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise UsageError(str(error) or "needs a number", hint="") from None
    _fits(answer.key, said)
    return said


def _fits(key: str, said: str) -> None:
    from choline_tui.model.gpu import gpu_names_for, split_gpu_spec
    from choline_tui.model.query import parse_query

    if key == "gpu":
        gpu_names_for(split_gpu_spec(said)[1])
    elif key == "query":
        parse_query(said)


def _review(text: str, seen: "Look", context: Context) -> None:
    out = context.out
    out.note("")
    if seen.text is None:
        lines = text.rstrip("\n").split("\n")
    else:
        before, after = seen.text.split("\n"), text.split("\n")
        lines = list(difflib.unified_diff(before, after, "choline.toml", "as it would be", lineterm="", n=1))
    for line in lines:
        out.note(f"  {clean(line, 2000)}")


def _agreed(context: Context, question: str) -> bool:
    context.out.stderr.write(f"{question} [Y/n] ")
    context.out.stderr.flush()
    try:
        return context.ask("").strip().lower() in ("", "y", "yes")
    except EOFError:
        return False
