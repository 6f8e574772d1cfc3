"""What is taken for a secret, and what must not be: a project refused for nothing cannot be run."""

import pytest

from choline_tui.model.tokens import token_kind

HEX = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + "aB3" * 11, "ghp_" + "a1" * 18, "github_pat_" + "a1_" * 20, "sk-" + "aB1" * 16,
        "sk-ant-api03-" + "aB1_" * 20, "sk-proj-" + "aB1-" * 20, "AKIA" + "A1" * 8, "glpat-" + "aB1-" * 5,
        "wandb_v1_" + "aB1_" * 20, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "AIza" + "a" * 35,
        f"wandb login {HEX}", f"export WANDB_API_KEY={HEX} && python train.py", f'WANDB_API_KEY = "{HEX}"',
        "python train.py --token=hf_" + "aB3" * 11, "https://x:ghp_" + "a1" * 18 + "@github.com/a/b",
    ],
)  # fmt: skip
def test_a_token_anywhere_in_a_text(text: str) -> None:
    assert token_kind(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("WANDB_API_KEY", HEX), ("MY_SECRET", "a1b2c3d4e5f6g7h8i9j0"), ("DB_PASSWORD", "x" * 19 + "7"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1"),
    ],
)  # fmt: skip
def test_a_value_by_its_variable_s_name(name: str, text: str) -> None:
    assert token_kind(text, name)
    assert not token_kind(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("COMMIT", HEX), ("", f"git checkout {HEX}"), ("TOKENIZERS_PARALLELISM", "false"), ("SEED", "7"),
        ("MAX_TOKENS", "12345678901234567890123"), ("API_KEY_FILE", "/run/secrets/a1b2c3d4e5f6g7"),
        ("HF_TOKEN", ""), ("HF_TOKEN", "$HF_TOKEN"), ("GITHUB_TOKEN", "/var/lib/tokens/github-main-01"),
        ("", "hf_transfer"), ("", "pip install hf_transfer sk-learn-contrib-project"),
        ("", "shelf_" + "a" * 30),
        ("", "python train.py --sk-lr 0.1 --project wandb-" + "a" * 20), ("", "risk-" + "aB1" * 16),
        ("", f"wandb sweep x; git checkout {HEX}"), ("KEY", "a1b2c3d4e5f6g7h8i9j0"),
        ("", "ghcr.io/me/image@sha256:" + "0a" * 32), ("TOKEN", "word"),
    ],
)  # fmt: skip
def test_what_is_none(name: str, text: str) -> None:
    assert not token_kind(text, name)
