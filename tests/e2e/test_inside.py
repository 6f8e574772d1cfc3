"""Into a run's machine and out again, by real ssh and a real sshd: the program's terminal, commands, ports,
files, the name other tools use, and putting the run away."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from choline_tui.config.edit import set_value
from choline_tui.config.paths import Paths
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.remotes import ProcessBackend
from tests.e2e.test_commands import Shell, _stderr
from tests.support import eventually, free_port, needs
from tests.support.terminal import Person

SCRIPT = """
import http.server, os, sys, threading
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with open(os.path.join(os.environ["CHOLINE_RESULTS"], "port"), "w") as f:
    f.write(str(server.server_port))
with open(os.path.join(os.environ["CHOLINE_RESULTS"], "hos\\x1b[2Jtile"), "w") as f:
    f.write("red \\x1b[31mred\\n")
print("terminal", os.isatty(0), flush=True)
for line in sys.stdin:
    print("heard <%s>" % line.strip(), flush=True)
"""


async def test_a_run_is_entered_reached_and_put_away(tmp_path: Path, home: Path) -> None:
    needs("sshd", "ssh", "rsync", "git")
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    (project / "choline.toml").write_text('command = "python3 train.py"\ngpu = "1x4090"\ntty = true\n')
    paths = Paths(home).ensure()
    for key, value in (("engine.boot_poll", "0.5"), ("engine.watch", "1s")):
        set_value(paths, key, value)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "codium").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/opened\n')
    (tools / "codium").chmod(0o755)
    backend = ProcessBackend(tmp_path / "market", "openssh")
    async with Simulator(offers=800, boot=1.0, backend=backend, moving=False) as sim:
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "VAST_URL": sim.url, "VAST_API_KEY": "rehearsal", "CHOLINE_HOME": str(home)}
        env |= {"PYTHONPATH": os.pathsep.join([root, *sys.path]), "TERM": "xterm"}
        env["PATH"] = f"{tools}{os.pathsep}{env['PATH']}"
        choline = Shell(project, env)
        run = (await choline.json("create", "-y", "-d", "--env", "MINE=a 'b'"))["id"]
        log = paths.run_dir(run) / "attempt-1" / "run.log"
        await eventually(lambda: log.exists() and b"terminal True\n" in log.read_bytes(), within=60)

        # its terminal, from this one: typed into, left, still there
        with Person([sys.executable, "-m", "choline_tui", "attach", run], env, cwd=project) as me:
            await eventually(lambda: me.sees("terminal True"), what="what it showed before")
            assert me.sees("ctrl+\\ leaves")
            me.types("hello\r")
            await eventually(lambda: me.sees("heard <hello>"), what="its answer")
            me.types(b"\x1c")
            await eventually(lambda: me.process.poll() is not None, what="leaving")
            assert me.left() == 0 and me.sees("the command goes on")
        await eventually(lambda: b"hello\nheard <hello>\n" in log.read_bytes(), what="the log")

        # a command with the run's own variables; its status is ours
        text = 'echo "$MINE|$CHOLINE_RUN|$PWD"; exit 6'
        inside = await choline("exec", run, "--", text, expect=6)
        assert inside.startswith(f"a 'b'|{run}|/") and inside.endswith(f"/choline/{run}/src\n")
        assert await choline("exec", run, "--", "printf", "%s-", "a b", "$c") == "a b-$c-"

        # what changed here goes there; its code is compared and rebuilt
        (project / "extra.py").write_text("extra\n")
        assert (await choline("push", run)).startswith("1 file, ")
        assert await choline("exec", run, "--", "cat", "extra.py") == "extra\n"
        assert "+extra" in await choline("diff", run)
        assert "2 files" in await choline("checkout", run, str(tmp_path / "code"))
        assert (tmp_path / "code" / "train.py").read_text() == SCRIPT
        assert not (tmp_path / "code" / "extra.py").exists()

        # its files: bytes into a pipe, names that are inert
        port = await choline("cat", run, "results/port")
        listing = await choline("ls", run, "results")
        assert " port\n" in listing and "\x1b" not in listing and "hos" in listing
        assert await choline("cat", run, "results/hos\x1b[2Jtile") == "red \x1b[31mred\n"

        # a port of it, here
        here = free_port()
        tunnel = subprocess.Popen(
            [sys.executable, "-m", "choline_tui", "forward", run, f"{here}:{port}"],
            cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert "train.py" in str(await eventually(lambda: _get(here), what="the page"))
            assert "cannot be had" in await _stderr(choline, "forward", run, str(here))
        finally:
            tunnel.kill()
            tunnel.communicate()

        # any other tool, by the name, once one line says where the names are
        own = tmp_path / "ssh config"
        own.write_text("Host elsewhere\n  HostName 203.0.113.1\n")
        assert "added" in await choline("ssh-config", "install", "--file", str(own))
        assert f"choline-{run}\n" in await choline("ssh-config", "show", "--file", str(own))
        assert stat.S_IMODE(paths.ssh_names.stat().st_mode) == 0o600
        there = await _ssh(own, run, f"cat choline/{run}/results/port")
        assert there == (0, port)

        # an editor of VS Code's family would be sent there; without the line it is not
        assert "ssh-config install" in await _stderr(choline, "open", run, "--editor", "codium")

        # the terminal of a run without one, and of one that has ended
        await choline("stop", run, "-y")
        assert "choline logs" in await _stderr(choline, "attach", run)
        assert "--new-code" in await _stderr(choline, "push", run)
        assert run not in paths.ssh_names.read_text()
        assert (await _ssh(own, run, "true"))[0] == 255
        assert "taken out" in await choline("ssh-config", "remove", "--file", str(own))
        assert own.read_text() == "Host elsewhere\n  HostName 203.0.113.1\n"
        assert not own.with_name("ssh config.before-choline").exists()

        # at home it is looked at as on the machine, then put away
        assert await choline("cat", run, "results/port") == port
        assert " port\n" in await choline("ls", run, "results")
        removed = json.loads(await choline("rm", run, "-y", "--json"))
        assert removed[0]["run"] == run and removed[0]["bytes"] > 0
        assert (await choline.json("status"))["runs"] == []
        assert [r["id"] for r in (await choline.json("status", "--state", "archived"))["runs"]] == [run]
        assert "Timeline" in await choline("show", run) and not paths.run_dir(run).exists()
        assert (project / "results" / run / "results" / "port").read_text() == port
        assert "--new-code" in await _stderr(choline, "again", run, "--dry-run")

        await choline("engine", "stop")
        await eventually(lambda: not paths.engine_socket.exists(), what="the engine ends")
        assert all(c.destroyed for c in sim.contracts.history) and len(sim.contracts.history) == 1


async def _ssh(config: Path, run: str, command: str) -> tuple[int, str]:
    """Plain ssh by the name, as any tool would."""
    process = await asyncio.create_subprocess_exec(
        "ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", f"choline-{run}", command,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def _get(port: int) -> bytes:
    """A page from there; b"" while nobody answers."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(30):
            return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
