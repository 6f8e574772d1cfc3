"""A job's secrets under a real supervisor: in its variables, in no log, on no disk, and gone at its end."""

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from choline_tui.kernel.handover import Handover, Kept, memory_name
from choline_tui.remote.paths import Paths
from choline_tui.remote.vault import Vault
from tests.remote.box import Remote
from tests.support import wait_until

TOKEN = "hf_0123456789abcdefghijABCDEFGHIJ01"
SECOND = "two words; $HOME 'q' \"ü\"\nand a second line of it"
VALUES = {"values": {"HF_TOKEN": TOKEN, "SECOND": SECOND}}
CHECK = """
import base64, hashlib, os
print(hashlib.sha256(os.environ["SECOND"].encode()).hexdigest())
print(os.environ["HF_TOKEN"])
print(base64.b64encode(b"u:" + os.environ["HF_TOKEN"].encode()).decode(), flush=True)
"""


def holders(remote: Remote, *texts: str) -> list[Path]:
    """Files below the remote's home that hold one of the texts."""
    found = []
    for path in remote.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            found += [path for text in texts if text.encode() in data]
    return found


def in_memory(remote: Remote) -> Path:
    return Path("/dev/shm", memory_name(os.getuid(), str(remote.home)))


def test_from_the_handover_to_the_end(remote: Remote) -> None:
    kept = Kept.from_wire(remote.call("secrets", "r-1", data=VALUES))
    if not kept.memory:
        pytest.skip("no memory-backed /dev/shm here")
    assert stat.S_IMODE(in_memory(remote).stat().st_mode) == 0o700
    assert stat.S_IMODE((in_memory(remote) / "r-1").stat().st_mode) == 0o600
    hold = remote.path("hold")
    remote.submit(
        "r-1",
        f'{sys.executable} -c "$CODE"; printf \'half %s\' "${{HF_TOKEN%?????}}"; sleep 0.3; '
        f'printf \'%s\' "${{HF_TOKEN#"${{HF_TOKEN%?????}}"}}"; while [ ! -e {hold} ]; do sleep 0.05; done',
        setup='echo "in the setup: $HF_TOKEN"',
        env={"CODE": CHECK},
        secrets=["HF_TOKEN", "SECOND"],
    )
    remote.running("r-1")
    # whoever enters the job has them as well
    done = remote.enter("r-1", 'test -n "$HF_TOKEN" && echo "$SECOND" | head -1')
    assert done == b"two words; $HOME 'q' \"\xc3\xbc\"\n"
    (remote.home / "hold").write_text("")
    status = remote.ended("r-1")
    assert status.exit_code == 0, remote.log("r-1")
    stars = b"*" * len(TOKEN)
    assert remote.log("r-1", "setup") == b"in the setup: " + stars + b"\n"
    lines = remote.log("r-1").split(b"\n")
    assert lines[0].decode() == hashlib.sha256(SECOND.encode()).hexdigest()
    assert lines[1] == stars and lines[3] == b"half " + stars
    assert lines[2].count(b"*") >= 40
    assert holders(remote, TOKEN, TOKEN[4:20], "second line of it") == []
    assert not in_memory(remote).exists()


def test_without_its_secrets_a_job_does_not_begin(remote: Remote) -> None:
    remote.submit("r-1", f"touch {remote.path('ran')}", secrets=["HF_TOKEN"])
    status = remote.ended("r-1")
    assert (status.reason, status.exit_code) == ("lost", None) and "secrets" in status.message
    assert not (remote.home / "ran").exists()
    # nor does an answer that got lost bring them back after the end
    remote.call("secrets", "r-1", data=VALUES)
    assert not in_memory(remote).exists() and holders(remote, TOKEN) == []


def test_a_job_that_is_killed_leaves_none(remote: Remote) -> None:
    remote.call("secrets", "r-1", data=VALUES)
    command = 'test -t 1 && printf "%s\n" "$HF_TOKEN"; sleep 60'
    remote.submit("r-1", command, secrets=["HF_TOKEN"], tty=True)
    # the log of a terminal is masked as well
    wait_until(lambda: remote.log("r-1") == b"*" * len(TOKEN) + b"\n", within=20, what="its output")
    assert in_memory(remote).exists()
    remote.kill_shim("r-1")
    assert remote.ended("r-1").reason == "lost"
    wait_until(lambda: not in_memory(remote).exists(), what="the end of its secrets")


def test_a_machine_that_is_wiped_forgets_them(remote: Remote) -> None:
    remote.call("ensure")
    remote.call("secrets", "r-1", data=VALUES)
    assert in_memory(remote).exists()
    (remote.home / "choline").rename(remote.home / "gone")
    wait_until(lambda: not in_memory(remote).exists(), what="the end of its secrets")


@pytest.mark.parametrize(
    "data",
    [
        {"values": {"A B": "x"}},
        {"values": {"1A": "x"}},
        {"values": {"A": 1}},
        {"values": {"A": "x\0"}},
        {"values": {"A": "x" * 70_000}},
        {"values": {f"A{n}": "x" for n in range(101)}},
        {"values": []},
        [],
    ],
)
def test_a_bad_handover_is_refused_without_repeating_it(data: object) -> None:
    with pytest.raises(ValueError) as caught:
        Handover.from_wire(data)
    assert "xx" not in str(caught.value)
    assert "xx" not in repr(Handover({"A": "xx"}))


def vault(tmp_path: Path, kind: str = "tmpfs", environ: dict[str, str] | None = None) -> Vault:
    (tmp_path / "mounts").write_text(
        f"/dev/sda1 / ext4 rw 0 0\nshm {tmp_path / 'sh m'} {kind} rw 0 0\n".replace("sh m", "sh\\040m")
    )
    (tmp_path / "sh m").mkdir(exist_ok=True)
    return Vault(
        Paths(str(tmp_path)), environ or {}, shared=str(tmp_path / "sh m"), mounts=str(tmp_path / "mounts")
    )


def test_a_machine_without_such_memory_says_so(tmp_path: Path) -> None:
    kept = vault(tmp_path, "overlay").put("r-1", Handover({"A": "1"}))
    file = tmp_path / "choline/.system/jobs/r-1/secrets.json"
    assert not kept.memory and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert vault(tmp_path).read("r-1") == {"A": "1"}  # whatever is there by then
    assert vault(tmp_path).put("r-1", Handover({"A": "2"})).memory and not file.exists()
    vault(tmp_path, "overlay").remove("r-1")
    assert vault(tmp_path).read("r-1") == {} and list((tmp_path / "sh m").iterdir()) == []


def test_a_directory_that_is_not_ours_is_not_used(tmp_path: Path) -> None:
    theirs = tmp_path / "sh m" / memory_name(os.getuid(), str(tmp_path))
    vault(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    theirs.symlink_to(elsewhere)
    own = tmp_path / "sh m" / "runtime"
    own.mkdir()
    assert vault(tmp_path, environ={"XDG_RUNTIME_DIR": str(own)}).put("r-1", Handover({"A": "1"})).memory
    assert list(elsewhere.iterdir()) == [] and len(list(own.iterdir())) == 1
    theirs.unlink()
    theirs.mkdir(mode=0o777)
    theirs.chmod(0o777)
    assert not vault(tmp_path).put("r-2", Handover({"A": "1"})).memory


def test_what_nobody_came_for_is_swept(tmp_path: Path) -> None:
    kept = vault(tmp_path)
    kept.put("r-1", Handover({"A": "1"}))
    kept.put("r-2", Handover({"A": "2"}))
    for job in ("r-1", "r-2"):
        os.utime(tmp_path / f"choline/.system/jobs/{job}/secrets", (1e9, 1e9))
    kept.put("r-3", Handover({"A": "3"}))
    kept.sweep(["r-2"])
    assert [kept.read(job) for job in ("r-1", "r-2", "r-3")] == [{}, {"A": "2"}, {"A": "3"}]
