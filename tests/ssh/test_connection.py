import asyncio
import shlex
from pathlib import Path

import pytest

from choline_tui.kernel.errors import RemoteError, SshDropped, SshTimeout
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.connection import SshConnection
from tests.ssh.server import Sshd
from tests.support import eventually


async def test_status_output_and_input_as_bytes(conn: SshConnection) -> None:
    data = bytes(range(256)) * 2000
    done = await conn.run("cat; echo oops >&2; exit 7", input=data)
    assert done.exit_status == 7 and done.stdout == data and done.stderr == b"oops\n" and not done.truncated
    assert (await conn.run("kill -9 $$")).exit_status == 137
    assert (await conn.run("true", input=data)).exit_status == 0


async def test_output_beyond_the_limit_is_dropped(conn: SshConnection) -> None:
    done = await conn.run("head -c 5000000 /dev/zero; head -c 300000 /dev/zero >&2", max_output=1000)
    assert done.stdout == bytes(1000) and done.truncated and len(done.stderr) == 1000
    exact = await conn.run("head -c 1000 /dev/zero", max_output=1000)
    assert len(exact.stdout) == 1000 and not exact.truncated


async def test_a_command_that_hangs_times_out_and_the_connection_lives(conn: SshConnection) -> None:
    with pytest.raises(SshTimeout):
        await conn.run("sleep 50", timeout=0.3)
    with pytest.raises(SshTimeout):
        # slowly: output that never ends is refused for itself once it is large
        await conn.run("while :; do echo on; sleep 0.01; done", timeout=0.3)
    assert (await conn.run("echo on")).stdout == b"on\n"


async def test_many_commands_at_once(conn: SshConnection) -> None:
    done = await asyncio.gather(*(conn.run(f"echo {i}") for i in range(12)))
    assert [int(d.stdout) for d in done] == list(range(12))


async def test_process_streams_both_ways(conn: SshConnection) -> None:
    async with conn.process("while read -r line; do echo got $line; done; echo end >&2; exit 5") as process:
        for word in (b"one", b"two"):
            process.write(word + b"\n")
            await process.drain()
            assert await process.readline() == b"got " + word + b"\n"
        process.close_stdin()
        assert await process.readline() == b""
        assert await process.wait() == 5
        assert process.stderr == b"end\n"


async def test_lines_and_pieces_mix_and_a_long_line_is_refused(conn: SshConnection) -> None:
    async with conn.process("printf 'a\\nbcd\\n\\nlast'; head -c 300000 /dev/zero | tr '\\0' x") as process:
        assert await process.readline() == b"a\n"
        assert await process.read(2) == b"bc"
        assert await process.readline() == b"d\n"
        assert await process.readline() == b"\n"
        with pytest.raises(RemoteError, match="longer than"):
            await process.readline(1000)
    async with conn.process("printf 'no newline'") as process:
        assert await process.readline() == b"no newline"
        assert await process.readline() == b""


async def test_stderr_kept_is_the_last_part_and_bounded(conn: SshConnection) -> None:
    async with conn.process("head -c 1000000 /dev/zero >&2; echo the end >&2") as process:
        assert await process.read() == b""
        await process.wait()
        assert len(process.stderr) == 65536 and process.stderr.endswith(b"the end\n")


async def test_leaving_the_block_ends_the_process(plain_sshd: Sshd, pool: SshPool) -> None:
    conn = await pool.connect([plain_sshd.address], name="m")
    async with conn.process("echo $$; exec sleep 1000") as process:
        pid = int(await process.readline())
        assert pid in plain_sshd.children()
    await eventually(lambda: pid not in plain_sshd.children(), what="the end of the process")


async def test_cancelling_ends_the_command(plain_sshd: Sshd, pool: SshPool, tmp_path: Path) -> None:
    conn = await pool.connect([plain_sshd.address], name="m")
    note = tmp_path / "pid"
    task = asyncio.create_task(conn.run(f"echo $$ > {shlex.quote(str(note))}; exec sleep 1000"))
    await eventually(lambda: note.exists() and note.read_text().strip())
    pid = int(note.read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: pid not in plain_sshd.children(), what="the end of the process")


async def test_reading_from_a_lost_connection_is_said(conn: SshConnection, sshd: Sshd) -> None:
    async with conn.process("echo up; sleep 1000") as process:
        assert await process.readline() == b"up\n"
        sshd.drop()
        with pytest.raises(SshDropped):
            await process.readline()
        with pytest.raises(SshDropped):
            for _ in range(1000):
                process.write(bytes(100_000))
                await process.drain()
        with pytest.raises(SshDropped):
            await process.wait()
