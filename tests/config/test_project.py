import shlex
from pathlib import Path

import pytest

from choline_tui.config import Project, find_project, load_project
from choline_tui.kernel.errors import ProjectError


def project(directory: Path, text: str) -> Project:
    (directory / "choline.toml").write_text(text)
    return load_project(directory)


def test_a_whole_project(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    found = project(
        tmp_path,
        """
        command = ["python", "train.py", "--name", "a b"]
        setup = "pip install -r requirements.txt"
        name = "nightly"
        gpu = "2x4090"
        image = "pytorch/pytorch:latest"
        disk = 40
        cap = 0.9
        type = "interruptible"
        send = ["corpus", {path = "/", into = "root"}]
        exclude = ["*.ckpt"]
        results = ["out/checkpoints"]
        results_exclude = ["*.tmp", "wandb/"]
        results_keep = 3
        results_also = "s3://bucket/runs"
        [env]
        SEED = "7"
        [run]
        max_life = "48h"
        """,
    )
    assert shlex.split(found.command) == ["python", "train.py", "--name", "a b"]
    assert found.directory == tmp_path
    assert found.overrides() == {
        "image": "pytorch/pytorch:latest",
        "disk": 40,
        "max_price": 0.9,
        "type": "interruptible",
        "max_life": "48h",
    }
    assert [(s.path, s.into) for s in found.data()] == [(str(tmp_path / "corpus"), ""), ("/", "root")]
    assert found.excluded == ("*.ckpt", "/.env", "/results/", "/out/checkpoints/")
    assert found.env == {"SEED": "7"}
    assert found.results_also is not None and found.results_also.to == "s3://bucket/runs"
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(found.secrets)
    assert (found.results_exclude, found.results_keep) == (["*.tmp", "wandb/"], 3)


def test_an_empty_file_is_a_project(tmp_path: Path) -> None:
    found = project(tmp_path, "")
    assert (found.command, found.overrides(), found.results_dir) == ("", {}, "results")


@pytest.mark.parametrize(
    ("text", "wanted", "hint"),
    [
        ('comand = "x"', "there is no setting 'comand'", "Did you mean 'command'?"),
        ('max_life = "2h"', "there is no setting 'max_life'", "Did you mean 'run.max_life'?"),
        ("[run]\nmax_lif = 3", "[run]: there is no setting 'max_lif'", "Did you mean 'max_life'?"),
        ('[run]\nmax_life = "2x"', "'2x' is not a duration", ""),
        ('disk = "x"', "disk: needs a number", ""),
        ("disk = 0", "disk: must be", ""),
        ('type = "spot"', "type: must be 'on-demand'", ""),
        ("disk = 1\n[run]\ndisk = 2", "disk stands at the top and in [run]", ""),
        ("cap = 1\nmax_price = 2", "are the same", ""),
        ("cap = 1\n[run]\nmax_price = 2", "max_price stands at the top and in [run]", ""),
        ("send = [3]", "send[0]: needs a path", ""),
        (
            'send = ["a", {path = "x", inot = "y"}]',
            "there is no setting 'send[1].inot'",
            "Did you mean 'into'?",
        ),
        ('send = [{path = "x", into = "../y"}]', "send[0].into: needs a relative path below data/", ""),
        ('results = ["../x"]', "results[0]: needs a relative path", ""),
        ('results_also = "https://h/x"', "results_also.to: needs an address such as s3://bucket/prefix", ""),
        ('results_also = {to = "s3://bucket", endpoint = "http://h"}', "results_also.endpoint:", ""),
        ("results_also = 3", "results_also:", ""),
        ('results_exclude = ["**/"]', "results_exclude[0]: leaves out every result", ""),
        ('results_exclude = ["!a"]', "results_exclude[0]: needs a pattern of names", ""),
        ('results_exclude = ["[ab]"]', "results_exclude[0]: takes * and ? only", ""),
        ("results_keep = -1", "results_keep: must be", ""),
        ('results_dir = "/abs"', "results_dir: needs a relative path", ""),
        ("[env]\nA = 1", "env.A: needs text in quotes", ""),
        ('[env]\n"A B" = "1"', "env: 'A B' is not a name", ""),
        ('[env]\nCHOLINE_RUN = "1"', "is set by choline itself", ""),
        ("command = [1]", "command: needs text, or a list of words", ""),
        ("command = []", "command: needs text, or a list of words", ""),
        ("command = 1", "command: needs text in quotes", ""),
        ("command", "is not TOML", ""),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, text: str, wanted: str, hint: str) -> None:
    with pytest.raises(ProjectError) as caught:
        project(tmp_path, text)
    assert caught.value.message.startswith(str(tmp_path / "choline.toml"))
    assert wanted in caught.value.message
    assert "\n" not in caught.value.message
    if hint:
        assert caught.value.hint == hint


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = project(tmp_path, 'send = ["nowhere"]')
    with pytest.raises(ProjectError, match=r"there is no .*nowhere"):
        found.data()


def test_the_project_is_found_from_below(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_project(deep) is None
    (tmp_path / "choline.toml").write_text("")
    assert find_project(deep) == tmp_path
    (deep / "choline.toml").mkdir()  # a directory of that name is no project file
    assert find_project(deep) == tmp_path


def test_no_project_here_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"no choline\.toml") as caught:
        load_project(tmp_path)
    assert "choline run" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('env = {HF_TOKEN = "hf_%s"}' % ("aB3" * 11), "env.HF_TOKEN"),
        ('env = {WANDB_API_KEY = "%s"}' % ("0123456789" * 4), "env.WANDB_API_KEY"),
        ('command = "WANDB_API_KEY=%s python train.py"' % ("0123456789" * 4), "command"),
        ('send = [{path = "https://u:ghp_%s@github.com/a"}]' % ("a1" * 18), "send[0].path"),
        ('secrets = ["hf_%s"]' % ("aB3" * 11), "secrets[0]"),
    ],
)
def test_a_value_that_looks_like_a_secret_is_refused_and_not_repeated(
    text: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "choline.toml").write_text(text + "\n")
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path)
    assert caught.value.details["key"] == key and "secrets = [" in caught.value.hint
    told = f"{caught.value.message} {caught.value.hint}"
    assert "aB3aB3" not in told and "0123456789" not in told and "a1a1a1" not in told


def test_secrets_are_names(tmp_path: Path) -> None:
    (tmp_path / "choline.toml").write_text('secrets = ["HF_TOKEN", "WANDB_API_KEY", "HF_TOKEN"]\n')
    project = load_project(tmp_path)
    assert project.secrets == ["HF_TOKEN", "WANDB_API_KEY"]
    assert "/.env" in project.excluded  # what they are read from is copied nowhere
    assert "/.env" not in project.model_copy(update={"secrets": []}).excluded
    for text, words in (
        ('secrets = ["my secret text"]', "names of variables"),
        ('secrets = ["CHOLINE_RUN"]', "set by choline"),
        ('secrets = ["A"]\n[env]\nA = "1"', "keep one of them"),
    ):
        (tmp_path / "choline.toml").write_text(text + "\n")
        with pytest.raises(ProjectError, match=words) as caught:
            load_project(tmp_path)
        assert "my secret" not in caught.value.message
