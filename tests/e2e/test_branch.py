"""A run of a branch on real parts: the machine clones it from a server that wants a token, and the token is
found nowhere afterwards."""

import asyncio
import os
import sys
from pathlib import Path

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.codestate.gits import git, make_repository, tree
from tests.e2e.test_commands import Shell
from tests.support import eventually, needs
from tests.support.git_http import GitServer

TOKEN = "s3cr3t-of-the-git-server-0123"
SCRIPT = "git rev-parse HEAD; cat train.py; while [ ! -e go ]; do sleep 0.05; done\n"


def _with_it(*roots: Path) -> list[Path]:
    files = [p for root in roots for p in root.rglob("*") if p.is_file() and not p.is_symlink()]
    return [p for p in files if TOKEN.encode() in p.read_bytes()]


def _commands() -> list[bytes]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            found += [words] if TOKEN.encode() in words else []
    return found


async def test_a_branch_is_cloned_by_the_machine_with_a_token_that_stays_nowhere(
    tmp_path: Path, home: Path
) -> None:
    needs("sshd", "ssh", "rsync", "git")
    project = make_repository(tmp_path / "project")
    (project / "choline.toml").write_text(
        'command = "sh job.sh"\ngpu = "1x4090"\n[code]\ntoken = "GIT_TOKEN"\n'
    )
    (project / "job.sh").write_text(SCRIPT)
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "A job")
    paths = Paths(home).ensure()
    for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
        set_value(paths, key, value)
    market = tmp_path / "market"
    with GitServer(tmp_path / "server", token=TOKEN) as server:
        server.publish(project)
        there, commit = tree(project), git(project, "rev-parse", "HEAD")
        # at home git logs in as it always does; here by a program that reads a file
        (tmp_path / "login").write_text(f"username=me\npassword={TOKEN}\n")
        git(project, "config", "credential.helper", f"!f() {{ cat '{tmp_path / 'login'}'; }}; f")
        (project / "train.py").write_text("not pushed\n")
        git(project, "commit", "-q", "-a", "-m", "Mine alone")
        backend = ProcessBackend(market, "openssh")
        async with Simulator(offers=300, boot=1.0, backend=backend, moving=False) as sim:
            root = str(Path(__file__).resolve().parents[2])
            env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
            env |= {"PYTHONPATH": os.pathsep.join([root, *sys.path]), "GIT_TOKEN": TOKEN}
            choline = Shell(project, env)
            run = asyncio.create_task(choline("create", "-y", "--branch", "main"))
            seen: list[bytes] = []

            async def begun() -> bool:
                seen.extend(_commands())
                return any(b"three" in p.read_bytes() for p in paths.runs_dir.glob("*/attempt-1/run.log"))

            await eventually(begun, within=60, what="the command's output")
            assert (_with_it(home, market, project / "results"), seen) == ([], [])
            log = next(paths.runs_dir.glob("*/attempt-1/run.log"))
            name = log.parent.parent.name
            (backend.home(sim.contracts.history[0].id) / "choline" / name / "src" / "go").touch()
            await run
        assert log.read_text() == f"{commit}\none\ntwo\nthree\n"
        shown = await choline.json("show", name)
        assert (shown["code"]["commit"], shown["code"]["branch"]) == (commit, "main")
        texts = [event["text"] for event in shown["events"]]
        assert any(t.startswith(f"the machine cloned {commit[:8]} from {server.url}") for t in texts), texts
        assert any("sent 0 files, 0 bytes" in t for t in texts), texts
        assert any("1 commit of yours on main is not on the remote" in w for w in shown["code"]["warnings"])
    # what it was is rebuilt, though the server is gone
    await choline("checkout", name, str(tmp_path / "as-it-was"))
    assert tree(tmp_path / "as-it-was") == there
    assert (_with_it(home, market, project / "results"), _commands()) == ([], [])
