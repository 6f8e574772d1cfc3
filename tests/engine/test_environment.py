"""An environment while a run is planned, and what its set-up said: on the timeline, in the run's reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from choline_tui.config.paths import Paths
from choline_tui.engine.checked import read_request
from choline_tui.engine.environment import tight_disk
from choline_tui.engine.planning import draft
from choline_tui.kernel.errors import ProjectError, UsageError
from choline_tui.model.environment import Environment
from choline_tui.model.run import Outcome, Plan, Run
from choline_tui.simulator.remotes.job_model import JobModel
from tests.support.world import World, live


def lock(cuda: str = "13.0.96", size: int = 500_000_000, tag: str = "py3-none-manylinux_2_28_x86_64") -> str:
    wheels = f'wheels = [{{ url = "https://x/NAME-1-{tag}.whl", size = {size} }}]\n'
    source = 'source = { registry = "https://pypi.org/simple" }\n'
    return (
        'version = 1\nrequires-python = ">=3.10"\n'
        '[[package]]\nname = "net"\nversion = "0"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "torch" }, { name = "nvidia-cuda-runtime" }]\n'
        f'[[package]]\nname = "torch"\nversion = "2.13.0"\n{source}{wheels.replace("NAME", "torch")}'
        f'[[package]]\nname = "nvidia-cuda-runtime"\nversion = "{cuda}"\n{source}'
        f"{wheels.replace('NAME', 'nvidia_cuda_runtime')}"
    )


E = "[environment]\n"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "project"
    top.mkdir()
    (top / "pyproject.toml").write_text('[project]\nname = "net"\nversion = "0"\n')
    return top


def planned(top: Path, toml: str = "[environment]\n", like: Run | None = None, **request: Any) -> Plan:
    (top / "choline.toml").write_text('command = "python train.py"\ngpu = "1x4090"\n' + toml)
    home = Paths(top.parent / "home", {}).ensure()
    if like is None:
        request = {"project": str(top), **request}
    asked = read_request({"project": str(top), **request})
    return draft(asked, home, {}, like)[0].plan


def test_without_a_table_nothing_is_built(top: Path) -> None:
    (top / "uv.lock").write_text("not even a lock")
    assert planned(top, "").environment is None
    plan = planned(top, '[environment]\nfrom = "image"\napt = ["ffmpeg"]\n')
    assert plan.environment == Environment(kind="image", apt=["ffmpeg"])
    assert "the image has them; apt: ffmpeg" in plan.environment.in_words()
    with pytest.raises(ProjectError, match=r"uv\.lock is not TOML"):
        planned(top, "", env_from="auto")
    assert planned(top, "[environment]\n", env_from="image").environment == Environment(kind="image")


def test_the_driver_that_a_lock_needs_becomes_a_condition(top: Path) -> None:
    (top / "uv.lock").write_text(lock())
    plan = planned(top)
    assert "cuda_max_good>=13.0" in plan.query
    assert plan.environment is not None and plan.environment.needs_cuda == "13.0"
    words = plan.environment.in_words()
    assert "uv.lock, built by uv" in words and "needs a driver with CUDA 13.0" in words and "1.0 GB" in words
    # enough is asked for already, by the image or by the person
    (top / "uv.lock").write_text(lock("12.8.90"))
    plan = planned(top)
    assert plan.query.count("cuda_max_good") == 1 and "cuda_max_good>=12.6" in plan.query
    (top / "uv.lock").write_text(lock())
    assert planned(top, 'query = "cuda_max_good>=13.2"\n[environment]\n').query.count("cuda_max_good") == 1
    # an offer that was named is the person's own choice
    assert "13.0" not in planned(top, offer=7).query


@pytest.mark.parametrize(
    ("text", "toml", "says"),
    [
        (lock(), 'query = "cuda_max_good<=12.8"\n' + E, "needs a driver with CUDA 13.0, and the query"),
        (lock(), '[environment]\ncuda = "12.6"\n', "pins CUDA 13.0, and cuda says 12.6"),
        (lock(size=30_000_000_000), E, "the disk of 20 GB is too small"),
        (lock(tag="py3-none-win_amd64"), E, "no wheel of nvidia-cuda-runtime 13.0.96, torch"),
        (lock(tag="cp310-cp310-manylinux2014_x86_64"), '[environment]\npython = "3.12"\n', "and Python 3.12"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_rented(top: Path, text: str, toml: str, says: str) -> None:
    (top / "uv.lock").write_text(text)
    with pytest.raises(UsageError) as refused:
        planned(top, toml)
    assert says in refused.value.message and refused.value.hint


def test_an_index_that_all_machines_of_the_image_run(top: Path) -> None:
    (top / "requirements.txt").write_text("torch==2.13.0\n")
    plan = planned(top)
    assert plan.environment is not None and plan.environment.backend == "cu129"
    assert "cuda_max_good>=12.6" in plan.query and "13.0" not in plan.query
    plan = planned(top, '[environment]\ncuda = "cpu"\n')
    assert plan.environment is not None and (plan.environment.backend, plan.environment.needs_cuda) == (
        "cpu",
        "",
    )
    # a mirror is the person's own: torch comes from it
    plan = planned(top, '[environment]\nindex = "https://pypi.example.org/simple"\n')
    assert plan.environment is not None and plan.environment.backend == ""
    assert plan.environment.index == "https://pypi.example.org/simple"


def test_an_image_is_chosen_where_none_is_named(top: Path) -> None:
    (top / "requirements.txt").write_text("numpy\n")
    assert "cuda12.6" in planned(top).image
    assert "cuda12.8" in planned(top, '[environment]\ncuda = "12.8"\n').image
    assert "cuda12.4" in planned(top, 'query = "cuda_max_good<=12.5"\n[environment]\n').image
    assert planned(top, 'image = "a/b"\n[environment]\ncuda = "12.8"\n').image == "a/b"
    assert planned(top, '[environment]\ncuda = "12.8"\n', image="c/d").image == "c/d"


def test_code_of_now_is_planned_with_its_packages_of_now(top: Path) -> None:
    (top / "requirements.txt").write_text("numpy\n")
    then = Run(id="old", plan=planned(top).but(project=str(top)), created=0.0, updated=0.0)
    (top / "requirements.txt").write_text("numpy\nscipy\n")
    assert then.plan.environment is not None
    kept = planned(top, like=then, same_code=True).environment
    anew = planned(top, like=then).environment
    assert kept == then.plan.environment
    assert anew is not None and anew.key != then.plan.environment.key
    assert planned(top, like=then, same_code=True, env_from="image").environment == Environment(kind="image")


def test_packages_and_data_that_do_not_fit_together_are_a_warning(top: Path) -> None:
    (top / "uv.lock").write_text(lock(size=2_000_000_000))
    plan = planned(top)
    assert tight_disk(plan, 10_000_000_000) == []
    assert "12.0 GB of code and data and about 8.8 GB of packages" in tight_disk(plan, 12_000_000_000)[0]
    assert tight_disk(plan.but(environment=None), 10**15) == []
    assert tight_disk(plan.but(place="here"), 10**15) == []


def test_on_this_computer_nothing_is_said_of_a_machines_disk_and_platform(top: Path) -> None:
    (top / "uv.lock").write_text(lock(size=50_000_000_000, tag="py3-none-macosx_11_0_arm64"))
    plan = planned(top, place="here")
    assert plan.environment is not None and plan.environment.kind == "uv"


def test_a_set_up_that_would_be_cut_off_is_refused(top: Path) -> None:
    (top / "requirements.txt").write_text("numpy\n")
    with pytest.raises(ProjectError, match="longer than a machine takes"):
        planned(top, f'setup = "{"x" * ((1 << 20) - 100)}"\n[environment]\n')


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ('from = "/etc/passwd.txt"', 'needs "image", or a file'),
        ('from = "../requirements.txt"', 'needs "image", or a file'),
        ('from = "train.py"', 'needs "image", or a file'),
        ('python = "three"', "needs a version"),
        ('apt = ["x; reboot"]', "is not the name of a Debian package"),
        ('extras = ["a b"]', "is not the name of an extra"),
        ('index = "https://me:hunter2@x/simple"', "a credential does not belong"),
        ('extra_index = ["ftp://x"]', "needs an address"),
        ('cuda = "new"', 'needs "auto", "cpu" or a version'),
        ('form = "uv.lock"', "there is no setting 'environment.form'"),
    ],
)
def test_a_table_that_is_wrong(top: Path, toml: str, says: str) -> None:
    with pytest.raises(ProjectError) as refused:
        planned(top, f"[environment]\n{toml}\n")
    assert says in refused.value.message and "hunter2" not in refused.value.message


def test_a_flag_that_names_no_such_file(top: Path) -> None:
    with pytest.raises(UsageError, match=r"--env-from \.\./x"):
        planned(top, env_from="../x")
    with pytest.raises(ProjectError, match=r"takes its packages from poetry\.lock, which is not in"):
        planned(top, env_from="poetry.lock")


# ------------------------------------------------------------------------------------- once it was set up

ENVIRONMENT = Environment(kind="pip", source="requirements.txt", files=["requirements.txt"], digest="x" * 64)


def lived(tmp_path: Path, model: JobModel, **changes: Any) -> tuple[Run, list[str]]:
    """(the run when it has ended, its timeline)"""
    seen: list[tuple[Run, list[str]]] = []

    async def story(world: World) -> None:
        world.model = model
        run = world.start(environment=ENVIRONMENT, **changes)
        ended = await world.ended(run)
        await world.quiet()
        world.check(run)
        assert world.store is not None
        seen.append((ended, [e.text for e in world.store.events(run=run)]))

    live(tmp_path, story)
    return seen[0]


def test_how_it_was_had_is_on_the_timeline(tmp_path: Path) -> None:
    lines = ["choline: environment: building", "+ numpy", "choline: environment built in 41.2 s", "mine"]
    run, events = lived(tmp_path, JobModel(60, setup_s=41, setup_lines=lines), setup="make")
    assert run.outcome is Outcome.SUCCEEDED and events.count("environment: built in 41.2 s") == 1


def test_a_set_up_that_failed_says_which_package(tmp_path: Path) -> None:
    lines = ["choline: environment: building from requirements.txt", "  × Failed to build `broken==3.1`",
             "  ╰─▶ The build backend returned an \x1b[2Jerror",
             "choline: environment: uv could not install the packages"]  # fmt: skip
    run, _ = lived(tmp_path, JobModel(60, setup_s=5, setup_exit=1, setup_lines=lines))
    assert run.outcome is Outcome.FAILED
    assert run.reason.startswith(
        "the environment could not be built: uv could not install the packages (broken==3.1): Failed to build"
    )
    assert run.reason.isprintable()


def test_the_project_own_set_up_that_failed_is_not_laid_on_the_environment(tmp_path: Path) -> None:
    lines = ["choline: environment reused in 0.1 s", "make: *** no rule"]
    run, events = lived(tmp_path, JobModel(60, setup_s=5, setup_exit=2, setup_lines=lines), setup="make")
    assert run.reason == "the set-up command failed" and "environment: reused in 0.1 s" in events


def test_a_plan_of_before_has_no_environment() -> None:
    plan = Plan(project="/p", command="true", cap=1.0)
    old = json.loads(plan.model_dump_json())
    del old["environment"]
    assert Plan.model_validate(old).environment is None
