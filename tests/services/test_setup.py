"""Answers while they are given: what is typed, what a template brings, what the file says of it all."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.config.settings import RunSettings
from choline_tui.kernel.errors import UsageError
from choline_tui.services.hardware import as_filter, from_filter, vram_of, with_vram
from choline_tui.services.project import Look
from choline_tui.services.setup import DOWN_COST, Draft, Sending, read_value, shown_value
from choline_tui.survey import Directory, Finding, Older, Survey

MINE = '# mine\ncommand = "a"  # so\n[env]\nA = "1"\n[run]\nmax_life = "2h"\n'


def draft(text: str | None = None, **found: Any) -> Draft:
    survey = Survey("/p")
    survey.commands = [Finding("python train.py", "train.py:3"), Finding("python eval.py", "eval.py:3")]
    survey.data = [Directory("data", 2_000_000_000, 3, 0, "its name")]
    for name, value in found.items():
        setattr(survey, name, value)
    current = tomllib.loads(text) if text is not None else None
    return Draft(Path("/p"), Look(survey, Older(), text, current, RunSettings()), schema=False)


def data(made: Draft) -> dict[str, Any]:
    return tomllib.loads(made.text())


def test_a_new_file_begins_with_what_was_found() -> None:
    made = draft()
    assert not made.touched and made.get("command") == "python train.py"
    assert made.others["command"] == ("python train.py", "python eval.py")
    assert made.sending() == Sending(2_000_000_000)
    assert Sending(2_000_000_000).seconds == 800 and Sending(2_000_000_000).dollars == 2 * DOWN_COST
    made.put("send", [])
    assert made.sending().bytes == 0 and "send" not in data(made) and made.touched


def test_a_file_that_is_there_changes_only_where_it_is_told_to() -> None:
    made = draft(MINE)
    assert made.text() == MINE and made.get("send") is None
    assert "python train.py" in made.others["command"] and "data" in made.others["send"]
    assert made.put("run.max_life", "3h") == "" and made.put("run.grace", "") == ""
    assert made.put_env("A", None) == made.put_env("B", "2") == ""
    assert made.text() == MINE.replace("2h", "3h").replace('A = "1"', 'B = "2"')


def test_what_cannot_be_stays_out_of_the_file_and_is_said() -> None:
    made = draft()
    for key, typed, why in (
        ("disk", "big", "'big' is no number (GB)"),
        ("disk", "0", "greater than or equal to 1"),
        ("run.lease", "soon", "not a duration"),
        ("gpu", "2x9999", "no GPU is called"),
        ("query", "gpu_rma>3", "gpu_rma"),
        ("results_dir", "../up", "stays inside the project"),
        ("secrets", ["hf_abcdefghijklmnopqrstuvwx y"], ""),
    ):
        said = made.put(key, typed)
        assert said and why in said, (key, said)
        assert not said.startswith(key) and "choline.toml" not in said
        assert data(made).get(key) != typed
    assert made.typed("disk") == "0" and set(made.wrong) >= {"disk", "gpu"}
    assert made.put("disk", " 60 GB ") == "" and made.get("disk") == 60 and "disk" not in made.wrong
    assert "NAME" not in made.put_env("A", "x") and made.put_env("a b", "x")
    assert "looks like a Hugging Face token" in made.put_env("T", "hf_abcdefghijklmnopqrstuvwx")


def test_a_template_comes_and_goes() -> None:
    made = draft()
    before = made.text()
    made.apply("llm", {"gpu": "2x4090", "run.max_life": "2h", "command": "c"})
    assert data(made)["gpu"] == "2x4090" and made.where("gpu") == "template llm"
    made.put("command", "mine")
    made.apply("", {})
    assert made.get("command") == "mine" and made.template == ""
    made.put("command", "python train.py")
    assert made.text() == before


def test_an_edit_by_hand_counts_from_then_on() -> None:
    made = draft()
    text = made.text().replace('command = "python train.py"', 'command = "by hand"  # why')
    made.put("disk", "much")
    made.take_text(text)
    assert made.get("command") == "by hand" and made.where("command") == "edited by hand" and not made.wrong
    made.put("gpu", "1x3090")
    assert 'command = "by hand"  # why' in made.text() and data(made)["gpu"] == "1x3090"


def test_without_packages_there_is_no_environment() -> None:
    made = draft('command = "a"\n[environment]\nfrom = "uv.lock"\npython = "3.11"\n')
    assert made.put("environment.from", None) == ""
    assert data(made) == {"command": "a"}


_KEYS = st.sampled_from(
    ["command", "setup", "name", "image", "disk", "max_price", "run.max_life", "results_dir", "env.A"]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(_KEYS, st.text(max_size=12)), max_size=6), st.booleans())
def test_whatever_is_typed_the_file_says_the_answers(typed: list[tuple[str, str]], new: bool) -> None:
    made = draft(None if new else MINE)
    for key, text in typed:
        made.put(key, text)
    now = data(made)
    for key, value in made.values.items():
        found: Any = now
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        assert found == value, key


def test_values_as_they_are_typed_and_shown() -> None:
    for key, typed, value in (
        ("max_price", "$0.9", 0.9), ("premium", "5%", 5), ("disk", "40", 40), ("run.lease", "2h", "2h"),
        ("command", "  ", None), ("results_keep", "2", 2),
    ):  # fmt: skip
        assert read_value(key, typed) == value
    assert shown_value(["a", {"path": "b", "into": "c"}]) == "a, b" and shown_value(True) == "true"
    assert shown_value(None) == "" and shown_value(0.5) == "0.5"


def test_hardware_is_a_filter_and_back() -> None:
    text = as_filter("2x4090", "cuda_max_good>=12.8")
    assert text == "num_gpus=2 gpu_name=RTX_4090 cuda_max_good>=12.8"
    assert from_filter(text) == {"gpu": "2xRTX 4090", "query": "cuda_max_good>=12.8"}
    many = as_filter("a100", "")
    assert "gpu_name in [" in many and from_filter(many) == {"gpu": None, "query": many}
    assert from_filter("") == {"gpu": None, "query": None} and as_filter("", "dph<1") == "dph_total<1"


def test_memory_of_each_gpu_is_a_condition_of_the_query() -> None:
    assert vram_of("gpu_ram>=24 dph<1") == "24" and vram_of("gpu_rma>1") == "" and vram_of("") == ""
    assert with_vram("dph<1", "40 GB") == "dph_total<1 gpu_ram>=40"
    assert with_vram("gpu_ram>=24 dph<1", "") == "dph_total<1"
    for typed in ("much", "0", "-1", "nan"):
        with pytest.raises(UsageError, match="no number of GB"):
            with_vram("", typed)
