"""Words on the command line: what they mean, and what is said when they mean nothing."""

import argparse
import subprocess
import sys

import pytest

from choline_tui.cli import main
from choline_tui.cli.commands import COMMANDS, OLD_WORDS, build_parser
from choline_tui.cli.commands import run as run_command
from choline_tui.cli.launch import command_text
from choline_tui.cli.values import Positive, disk, duration, environment, money, percent, port
from choline_tui.kernel.errors import UsageError
from tests.cli.fakes import Bench, FakeCholine, offer, offers


@pytest.mark.parametrize("name", [c.name for c in COMMANDS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"choline {name}" in shown


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {c.name} " in shown for c in COMMANDS)
    assert "130" in shown and "no offer" in shown
    assert main([]) == 0
    assert main(["help", "run"]) == 0
    assert "--max-price" in capsys.readouterr().out


@pytest.mark.parametrize("word", sorted(OLD_WORDS))
def test_old_words_answer_with_the_new_one(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, "anything"]) == 2
    shown = capsys.readouterr().err.splitlines()
    assert shown == [f"choline: '{word}' is now 'choline {OLD_WORDS[word]}'"]
    assert OLD_WORDS[word].split()[0] in {c.name for c in COMMANDS}


def test_search_offers_is_offers() -> None:
    bench = Bench(FakeCholine(found=offers(offer())))
    assert bench("search", "offers", "--gpu", "4090")[0] == 0
    assert bench.choline.asked[0][1]["gpu"] == "4090"
    with pytest.raises(UsageError):
        bench("search")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["oofers"], "no command 'oofers'", "Did you mean 'offers'?"),
        (["lunch"], "no command 'lunch'", "Did you mean 'run'?"),
        (["xyzzy"], "no command 'xyzzy'", "lists the commands"),
        (["--gpu"], "no flag --gpu", "--help"),
        (["run", "--gpuu", "x"], "no flag --gpuu", "Did you mean --gpu?"),
        (["run", "python", "x.py"], "'python' is one word too many", "choline run --help"),
        (["status", "--", "x"], "takes nothing after '--'", "choline status --help"),
        (["run", "--max"], "no flag --max", "--max-"),
        (["run", "--disk", "0", "--", "x"], "disk size", "choline run --help"),
        (["run", "-p", "99999", "--", "x"], "is not a port", "choline run --help"),
        (["logs"], "required: RUN", "choline logs --help"),
        (["engine"], "required", "choline engine --help"),
        (["config", "st"], "invalid choice", "choline config --help"),
    ],
)
def test_mistakes_are_one_line_and_a_hint(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_command(words)
    assert message in caught.value.message and "\n" not in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_one_word_is_shell_text_and_several_are_quoted() -> None:
    assert command_text(["make && ./train"]) == "make && ./train"
    assert command_text(["python", "a b.py", "$x"]) == "python 'a b.py' '$x'"
    assert command_text(None) == ""
    for empty in ([], [" "], [""]):
        with pytest.raises(UsageError):
            command_text(empty)


def test_values_of_flags() -> None:
    assert Positive("n")("12") == 12
    assert disk("2.5e1") == 25.0
    assert money("$0.40") == 0.4
    assert percent("15%") == 15.0
    assert duration("1h30m") == 5400.0
    assert [port(p) for p in ("6006", "8080:80", "53/udp")] == ["6006", "8080:80", "53/udp"]


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (Positive("n"), "0"), (Positive("n"), "-3"), (Positive("n"), "٣"), (Positive("n"), "9" * 30),
        (disk, "nan"), (disk, "inf"), (disk, ""), (money, "0"), (money, "-1"), (percent, "2000"),
        (duration, "soon"), (port, "0"), (port, "80:"), (port, "80/sctp"), (port, "1" * 6),
    ],
)  # fmt: skip
def test_bad_values_are_refused(convert: object, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        convert(text)  # type: ignore[operator]
    assert str(caught.value)


def test_variables_come_from_the_flag_or_from_here() -> None:
    assert environment(["A=1", "B=", "C", "D=x=y"], {"C": "here"}) == {
        "A": "1",
        "B": "",
        "C": "here",
        "D": "x=y",
    }


@pytest.mark.parametrize("word", ["MISSING", "1A=x", "=x", "A-B=secret", "CHOLINE_RUN=secret", "A=se\0cret"])
def test_bad_variables_are_refused_without_their_value(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        environment([word], {})
    assert "secret" not in caught.value.message + caught.value.hint


def test_the_whole_parser_can_be_built_for_completion() -> None:
    parser = build_parser()
    assert parser.parse_args(["config", "show", "run"]).key == "run"


def test_help_and_offers_load_nothing_heavy() -> None:
    code = (
        "import sys, io\n"
        "from choline_tui.cli import commands\n"
        "commands.build_parser([c for c in commands.COMMANDS if c.name == 'offers'])\n"
        "from choline_tui.cli.context import Context\n"
        "Context.standard().engine_call('offers')\n"
        "print([m for m in ('pydantic', 'rich', 'textual', 'asyncio', 'httpx', 'asyncssh', 'git') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
