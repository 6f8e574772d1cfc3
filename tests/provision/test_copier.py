"""Results by the host's copier, over a real sshd and a real rsync daemon, of a container that stands."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from choline_tui.kernel.errors import CholineError, HostKeyChanged, SshDenied, TransferFailed
from choline_tui.kernel.protocol import JobStatus
from choline_tui.kernel.session import ResultRules
from choline_tui.provision.copier import CopierSession
from choline_tui.simulator.remotes import ProcessBackend, copier, disk
from choline_tui.ssh import staged, transfer
from choline_tui.ssh.connect import SshPool
from choline_tui.ssh.keys import KeyPair, ensure_key
from tests.simulator.test_remotes_process import launch
from tests.support import eventually, needs

OLD = 1_700_000_000
ODD = {
    b"plain.bin": b"weights" * 1000,
    b"deep/er/still.txt": b"x",
    b"two\nlines \\#012 and \xff\xfe": b"odd",
    "naïve 'model' \"x\" -> y".encode(): b"quoted",
    b"-dash *[?]": b"pattern",
    b"@>f+++++++++ 5 2020/01/01-00:00:00 no": b"looks like a line",
    b"empty": b"",
}


@dataclass
class Stood:
    """A container that stands, its host's copier, and a way in."""

    backend: ProcessBackend
    pool: SshPool
    key: KeyPair
    known: Path

    @property
    def run(self) -> Path:
        return self.backend.home(1) / "choline" / "r"

    async def session(self, host_key: str = "", pool: SshPool | None = None) -> CopierSession:
        at = await self.backend.copier(1)
        return CopierSession(
            pool or self.pool, at.host, at.port,
            contract=1, home=str(self.backend.home(1)), name="copier-x", host_key=host_key,
        )  # fmt: skip


@asynccontextmanager
async def stood(tmp_path: Path, sshd: str = "openssh") -> AsyncIterator[Stood]:
    needs("ssh", "rsync", *(["sshd"] if sshd == "openssh" else []))
    backend = ProcessBackend(tmp_path / "market", sshd)  # type: ignore[arg-type]
    if not backend.copies:
        pytest.skip("nothing isolates containers here, so there is no copier")
    key = ensure_key(tmp_path / "key", "choline-test")
    pool = SshPool(key, known_hosts_dir=tmp_path / "known", ssh_config=None, use_agent=False)
    await backend.create(launch(authorized_keys=[key.public]))
    made = Stood(backend, pool, key, tmp_path / "known")
    for part in ("results", "keep", "src"):
        (made.run / part).mkdir(parents=True)
    try:
        yield made
    finally:
        await pool.close()
        await backend.close()


def write(folder: Path, files: dict[bytes, bytes], mtime: int = OLD) -> None:
    for name, data in files.items():
        path = os.path.join(os.fsencode(folder), name)
        Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(data)
        os.utime(path, (mtime, mtime))


def files(folder: Path) -> dict[bytes, bytes]:
    top = os.fsencode(folder)
    return {
        os.path.relpath(os.fsencode(p), top): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.is_symlink()
    }


@pytest.mark.parametrize("sshd", ["openssh", "asyncssh"])
async def test_everything_comes_whatever_its_name_and_nothing_that_leads_out(
    tmp_path: Path, sshd: str
) -> None:
    async with stood(tmp_path, sshd) as box:
        write(box.run / "results", ODD)
        write(box.run / "keep", {b"step": b"20"})
        write(box.run / "src", {b"train.py": b"not a result"})
        (box.run / "results" / "link").symlink_to("plain.bin")
        (box.run / "results" / "out").symlink_to("/etc/passwd")
        (box.run / "results" / "none").mkdir()
        os.mkfifo(box.run / "results" / "pipe")
        (box.run / "results" / "empty").chmod(0o755)
        into = tmp_path / "home"
        (into / "results").mkdir(parents=True)
        (into / "results" / "of before").write_text("stays")
        session = await box.session()
        moved = await session.fetch("r", str(into), final=True)
        assert files(into / "results") == ODD | {b"of before": b"stays"}
        assert files(into / "keep") == {b"step": b"20"}
        assert sorted(p.name for p in into.iterdir()) == ["keep", "results"]
        assert (into / "results" / "link").readlink() == Path("plain.bin")
        assert not (into / "results" / "out").is_symlink()
        assert (into / "results" / "empty").stat().st_mode & 0o111
        said = "\n".join(moved.skipped)
        assert "pipe: not a file" in said and "out: a link that leads out" in said
        assert (moved.files, moved.how) == (8, "rsync")
        again = await session.fetch("r", str(into), final=True)
        assert (again.files, again.bytes) == (0, 0)


async def test_a_file_that_is_not_the_same_by_its_checksum_is_fetched_again(tmp_path: Path) -> None:
    async with stood(tmp_path) as box:
        write(box.run / "results", {b"a": b"right", b"b": b"same"})
        into = tmp_path / "home"
        write(into / "results", {b"a": b"wrong", b"b": b"same"})  # of one size and time
        moved = await (await box.session()).fetch("r", str(into), final=True)
        assert files(into / "results") == {b"a": b"right", b"b": b"same"}
        assert moved.files == 1


async def test_what_never_becomes_the_same_is_no_result_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stood(tmp_path) as box:
        write(box.run / "results", {b"a": b"right"})
        session = await box.session()

        async def bring(*args: object, **more: object) -> object:
            done = await honest(*args, **more)  # type: ignore[arg-type]
            write(tmp_path / "home" / "results", {b"a": b"wrong"})  # this disk writes something else
            return done

        honest = staged.bring
        monkeypatch.setattr("choline_tui.provision.copier.bring", bring)
        with pytest.raises(TransferFailed, match="did not arrive whole, the first is results/a"):
            await session.fetch("r", str(tmp_path / "home"), final=True)


async def test_patterns_limits_and_folders_that_are_not_there(tmp_path: Path) -> None:
    async with stood(tmp_path) as box:
        write(box.run / "results", {b"a.tmp": b"x" * 5000, b"sub/a.tmp": b"x", b"top/b": b"1", b"c": b"2"})
        (box.run / "keep").rmdir()
        session = await box.session()
        into = tmp_path / "home"
        rules = ResultRules(exclude=("*.tmp", "top/b", "keep", "results"))
        await session.fetch("r", str(into), final=True, rules=rules)
        assert files(into) == {b"results/c": b"2"}
        with pytest.raises(TransferFailed, match="more than the 100 allowed"):
            await session.fetch("r", str(tmp_path / "small"), final=True, max_bytes=100)
        assert files(tmp_path / "small") == {}
        with pytest.raises(TransferFailed, match="No such file"):
            await session.fetch("other", str(tmp_path / "other"), final=True)


async def test_a_broken_off_fetch_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stood(tmp_path) as box:
        big = os.urandom(1 << 20) * 8
        write(box.run / "results", {b"big": big})
        into = tmp_path / "home"
        session = await box.session()
        with monkeypatch.context() as slow:
            slow.setattr(transfer, "_DOWN", (*transfer._DOWN, "--bwlimit=800"))  # it would take 10 s
            fetching = asyncio.create_task(session.fetch("r", str(into), final=True))
            part = into / ".incoming" / "results"

            def begun() -> bool:
                assert not fetching.done()
                return any(p.is_file() and p.stat().st_size > 1 << 18 for p in part.rglob("*"))

            await eventually(begun, what="some of it is here")
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
        assert not (into / "results" / "big").exists(), "a part of a file is no result"
        assert any(p.stat().st_size for p in part.rglob("*") if p.is_file()), "and is gone on from"
        await session.fetch("r", str(into), final=True)
        assert (into / "results" / "big").read_bytes() == big
        assert not (into / ".incoming").exists()


async def test_while_it_runs_only_what_has_come_to_rest_is_taken(tmp_path: Path) -> None:
    async with stood(tmp_path) as box:
        write(box.run / "results", {b"old": b"whole"})
        write(box.run / "results", {b"young": b"ha"}, int(time.time()))
        into = tmp_path / "home"
        rules = ResultRules(settle_s=3600.0)
        moved = await (await box.session()).fetch("r", str(into), final=False, rules=rules)
        assert files(into / "results") == {b"old": b"whole"} and not (into / "unfinished").exists()
        assert moved.unfinished == 1


async def test_what_the_supervisor_wrote_of_a_job(tmp_path: Path) -> None:
    async with stood(tmp_path) as box:
        session = await box.session()
        assert await session.job("r-1") is None
        told = JobStatus("r-1", "ended", "exited", exit_code=3, queued=1.0, ended=9.0)
        folder = box.backend.home(1) / "choline/.system/jobs/r-1"
        folder.mkdir(parents=True)
        for odd in (b"{}", b"[" * 5000, json.dumps(replace(told, id="x-1").to_wire()).encode()):
            (folder / "status.json").write_bytes(odd)
            with pytest.raises(TransferFailed):
                await session.job("r-1")
        (folder / "status.json").write_text(json.dumps(told.to_wire()))
        assert await session.job("r-1") == told
        (folder / "status.json").write_bytes(b" " * 100_000)
        assert await session.job("r-1") is None


async def test_the_hosts_key_is_pinned_and_another_one_gets_nothing(tmp_path: Path) -> None:
    async with stood(tmp_path) as box:
        write(box.run / "results", {b"a": b"1"})
        first = await box.session()
        await first.fetch("r", str(tmp_path / "home"), final=True)
        assert first.host_key.startswith("ssh-ed25519 ") and first.host_key != box.backend.host_key(1)
        await first.close()
        assert not list(box.known.glob("*")), "nothing is left of it"
        same = await box.session(first.host_key)
        await same.fetch("r", str(tmp_path / "home"), final=True)
        await same.close()
        disk.host_key(tmp_path / "another")
        etc = box.run.parents[2] / "etc"
        (tmp_path / "another").replace(etc / copier.HOST_KEY)
        with pytest.raises(HostKeyChanged):
            await (await box.session(first.host_key)).fetch("r", str(tmp_path / "home"), final=True)
        stranger = ensure_key(tmp_path / "stranger", "x")
        pool = SshPool(stranger, known_hosts_dir=tmp_path / "k2", ssh_config=None, use_agent=False)
        try:
            with pytest.raises(SshDenied):
                await (await box.session(pool=pool)).job("r-1")
        finally:
            await pool.close()


@pytest.mark.parametrize(
    "program",
    [
        "echo hello; echo world",
        "exit 1",
        "printf '@RSYNCD: 31.0 sha512 sha256 md5 md4\\n'; sleep 0.1; head -c 3000000 /dev/urandom",
        "printf '@RSYNCD: 31.0\\n@ERROR: Unknown module\\n'",
    ],
)
async def test_a_copier_that_lies_is_an_error_in_words(tmp_path: Path, program: str) -> None:
    async with stood(tmp_path) as box:
        config = box.run.parents[2] / "etc" / copier.CONFIG
        lines = [line for line in config.read_text().splitlines() if not line.startswith("ForceCommand")]
        (tmp_path / "market" / "1" / "bin" / "liar").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "market" / "1" / "bin" / "liar").chmod(0o755)
        config.write_text("\n".join([*lines, f"ForceCommand {tmp_path}/market/1/bin/liar"]) + "\n")
        into = tmp_path / "home"
        with pytest.raises(CholineError) as told:
            await (await box.session()).fetch("r", str(into), final=True)
        assert told.value.message and "\n" not in told.value.message
        assert files(into) == {}
