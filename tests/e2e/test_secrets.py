"""The whole way of a secret on real parts: into the command, and into nothing that stays or that others
see."""

import asyncio
import base64
import contextlib
import json
import os
import sys
from pathlib import Path

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.e2e.test_commands import Shell, _stderr
from tests.support import eventually, needs

OF_SHELL = "hf_0123456789abcdefghijABCDEFGHIJ01"
OF_FILE = "two words & 'quotes' ü$x"
OF_LOGIN = "0123456789abcdef0123456789abcdef01234567"
TEXTS = [OF_SHELL, OF_FILE, OF_LOGIN]

SCRIPT = """
import base64, hashlib, os, time
values = [os.environ[n] for n in ("HF_TOKEN", "OF_FILE", "WANDB_API_KEY")]
print("has", hashlib.sha256("|".join(values).encode()).hexdigest())
for value in values:
    print("plain", value, "inside", base64.b64encode(b"user:" + value.encode()).decode(), flush=True)
while not os.path.exists("go"):
    time.sleep(0.05)
"""


def forms() -> list[bytes]:
    """What must not be found: each value, and what base64 of it has whatever stands before it."""
    plain = [text.encode() for text in TEXTS]
    return plain + [base64.b64encode(b"user:" + each)[8:-4] for each in plain]


def files_with_one(*roots: Path) -> list[str]:
    found = []
    for root in roots:
        for folder, _, names in os.walk(root):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(OSError):
                    if path.is_file() and not path.is_symlink():
                        data = path.read_bytes()
                        found += [f"{path}: {form[:6]!r}" for form in forms() if form in data]
    return found


def commands_with_one() -> list[bytes]:
    """Of everything that runs on this computer: its arguments are for all to see."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                found += [words for form in forms() if form in words]
    return found


async def test_from_three_places_to_the_command_and_nowhere_else(tmp_path: Path, home: Path) -> None:
    needs("sshd", "ssh", "rsync")
    project, user = tmp_path / "project", tmp_path / "user"
    project.mkdir()
    user.mkdir()
    (project / "train.py").write_text(SCRIPT)
    (project / "choline.toml").write_text(
        'command = "python3 train.py"\ngpu = "1x4090"\n'
        'setup = "echo set up with $HF_TOKEN"\nsecrets = ["HF_TOKEN", "OF_FILE", "WANDB_API_KEY"]\n'
    )
    paths = Paths(home).ensure()
    for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
        set_value(paths, key, value)
    market = tmp_path / "market"
    async with Simulator(
        offers=300, boot=1.0, backend=ProcessBackend(market, "openssh"), moving=False
    ) as sim:
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
        env |= {"PYTHONPATH": os.pathsep.join([root, *sys.path]), "HOME": str(user), "HF_TOKEN": OF_SHELL}
        choline = Shell(project, env)
        # nothing is rented while one is missing, and the places are told
        told = await _stderr(choline, "create", "-y")
        assert "OF_FILE (looked in the environment, .env, the keyring" in told and "~/.netrc" in told
        assert not sim.contracts.history
        (project / ".env").write_text(f'OF_FILE="{OF_FILE}"\n'.replace("$", "\\$"))
        (user / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {OF_LOGIN}\n")
        listed = {r["name"]: r["where"] for r in json.loads(await choline("secrets", "list", "--json"))}
        assert listed == {
            "HF_TOKEN": "the environment",
            "OF_FILE": ".env",
            "WANDB_API_KEY": "~/.netrc (api.wandb.ai)",
        }
        run = asyncio.create_task(choline("create", "-y"))
        seen: list[bytes] = []

        async def begun() -> bool:
            seen.extend(commands_with_one())
            return any(b"inside" in path.read_bytes() for path in paths.runs_dir.glob("*/attempt-1/run.log"))

        await eventually(begun, within=60, what="the command's output")
        # at home, and on the machine's disk, while it runs: nor did .env go with the code
        assert files_with_one(home, market, project / "results") == [] and seen == []
        log = next(paths.runs_dir.glob("*/attempt-1/run.log"))
        name = log.parent.parent.name
        # who enters the run has them too, and the value of that is not looked at by anybody else
        inside = await choline(
            "exec", name, "--", "sh", "-c", 'test -n "$WANDB_API_KEY" && touch go && echo in'
        )
        assert "in" in inside
        printed = await run
    assert "plain ****" in printed and files_with_one(home, market, project / "results") == [] and seen == []
    for text in TEXTS:
        assert text not in printed
    assert (log.parent / "setup.log").read_text() == f"set up with {'*' * len(OF_SHELL)}\n"
    shown = await choline.json("show", name)
    assert shown["plan"]["secrets"]["OF_FILE"] == ".env" and shown["outcome"] == "succeeded"
    assert any("secrets handed over: HF_TOKEN, OF_FILE" in event["text"] for event in shown["events"])
    assert commands_with_one() == []
