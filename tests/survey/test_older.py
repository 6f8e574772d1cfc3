"""Every generation's file: what is taken, what is told, and that no secret is read."""

import json
from pathlib import Path

import pytest

from choline_tui.survey import Older, read_older

SECRET = "ghp_verysecret"


def read(directory: Path, **files: str) -> Older:
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return read_older(str(directory))


def taken(found: Older) -> dict[str, object]:
    return {each.key: each.value for each in found.taken}


def test_the_first_json(tmp_path: Path) -> None:
    corpus = tmp_path / "elsewhere"
    corpus.mkdir()
    project = tmp_path / "project"
    project.mkdir()
    found = read(
        project,
        __choline__json=json.dumps(
            {
                "image": "pytorch/pytorch",
                "checkpoint_upload_locations": ["", "n"],
                "direct_copy_upload_locations": [str(corpus), str(project), "/no/such/place"],
                "onStart": "python tr.py",
                "local_cuda_version": "12.0",
                "requirements": ["numpy"],
                "hardware_filters": {"gpu_name": "3060|3060ti", "disk_space": "16"},
            }
        ),
    )
    assert found.files == [".choline.json"]
    assert taken(found) == {
        "image": "pytorch/pytorch",
        "send": [str(corpus)],
        "command": "python tr.py",
        "disk": 16,
        "query": "gpu_name in [3060,3060ti] num_gpus=1",
    }
    told = "\n".join(found.told)
    assert "/no/such/place" in told and "local_cuda_version" in told and "requirements" in told
    assert {t.where.partition(":")[0] for t in found.taken} == {".choline.json"}


def test_the_yaml_of_all_versions(tmp_path: Path) -> None:
    text = f"""\
image: nvidia/cuda:12.0.0-devel-ubuntu20.04
upload_locations: []
onStart: python3 train.py
hardware_filters:
  gpu_name: RTX_4090
  num_gpus: '2'
  disk_space: '>60'
  cpu_ram: '>32'
  moon: full
ignore:
- '*.ckpt'
- venv/
setup_script: |
  export cholineremote=true
  export WANDB_API_KEY={SECRET}
  pip install einops || pip3 install einops -y
  python -m pip install "transformers>=4" || true
  git clone https://x:{SECRET}@github.com/a/b repo
  python3 train.py
max_life: 90
git_token: {SECRET}
API_KEYS: {{HF_TOKEN: {SECRET}}}
destroy_on_agent_complete: true
repo_private: false
"""
    found = read(tmp_path, choline__yaml=text)
    assert taken(found) == {
        "image": "nvidia/cuda:12.0.0-devel-ubuntu20.04",
        "command": "python3 train.py",
        "gpu": "2xRTX 4090",
        "disk": 61,
        "query": "cpu_ram>32",
        "exclude": ["*.ckpt", "venv/"],
        "setup": 'pip install einops && pip install "transformers>=4"',
        "run.max_life": "90m",
    }
    told = "\n".join(found.told)
    assert "git_token is a secret" in told and "API_KEYS is a secret" in told
    assert "destroy_on_agent_complete has nothing" in told and "moon" in told and "repo_private" not in told
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("text", "gpu", "told"),
    [
        ("[2:gtx1070]\n", "2xgtx1070", 0),
        ("2:[8:gtx1070]", "8xgtx1070", 1),
        ("[gtx1080ti],[cpu:1]", "1xgtx1080ti", 1),
        ("[]", None, 0),
        ("give me all", None, 1),
        ("[:::]", None, 1),
    ],
)
def test_the_cluster_request(tmp_path: Path, text: str, gpu: str | None, told: int) -> None:
    found = read(tmp_path, __pitrequest__txt=text, __compute="set -e\npython train.py $SHARED_DIR/x\n")
    assert taken(found).get("gpu") == gpu
    assert taken(found)["command"] == "bash .compute"
    assert len(found.told) == told + 1 and "SHARED_DIR" in found.told[-1]


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x\n",
        "!!python/object/apply:os.system ['touch x']",
        "[" * 2000,
        "image: [unclosed",
        "- just\n- a list",
        "\x00\x01",
    ],
)
def test_files_that_cannot_be_read_are_told(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, choline__yaml=text)
    assert found.files == ["choline.yaml"] and not found.taken and len(found.told) == 1


def test_odd_values_are_nothing(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        choline__json=json.dumps(
            {"image": {"a": 1}, "onStart": "a\nb", "hardware_filters": 7, "max_life": 0, "ignore": "x",
             "upload_locations": 3, "\x1b[2J": 1}
        ),
    )  # fmt: skip
    assert taken(found) == {}
    assert any("several lines" in line for line in found.told)


def test_nothing_there(tmp_path: Path) -> None:
    assert read_older(str(tmp_path)) == Older()
