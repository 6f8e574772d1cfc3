"""One line in the user's own SSH configuration: put in, taken out, and nothing else touched."""

import os
import pwd
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from choline_tui.config.user_ssh import UserSsh, user_config
from choline_tui.kernel.errors import ConfigError
from tests.support import needs

MINE = b"Host work\n  User me\n\nHost *\n  ServerAliveInterval 5\n"


def include(tmp_path: Path, name: str = "names") -> UserSsh:
    return UserSsh(tmp_path / name, tmp_path / ".ssh" / "config")


def test_it_is_where_ssh_looks() -> None:
    # ssh(1) takes the account's home, not HOME
    assert user_config() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".ssh/config"
    assert UserSsh(Path("/x")).config == user_config()


def test_an_account_without_a_name_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user is a bare number: ssh itself does not run there either."""
    monkeypatch.setattr("choline_tui.config.user_ssh.os.getuid", lambda: 3_999_999_999)
    with pytest.raises(ConfigError, match="3999999999"):
        user_config()


def test_in_and_out_again_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    ours = include(tmp_path)
    ours.config.parent.mkdir()
    ours.config.write_bytes(MINE)
    ours.config.chmod(0o640)
    assert not ours.installed and ours.install() and ours.installed
    assert not ours.install()  # once
    text = ours.config.read_bytes()
    assert text.endswith(MINE) and text.count(b"Include") == 1
    assert text.split(b"\n")[1] == f'Include "{tmp_path}/names"'.encode()  # before every Host block
    assert stat.S_IMODE(ours.config.stat().st_mode) == 0o640
    assert ours.backup.read_bytes() == MINE
    assert ours.remove() and not ours.installed and not ours.remove()
    assert ours.config.read_bytes() == MINE
    assert sorted(p.name for p in ours.config.parent.iterdir()) == ["config"]


def test_without_a_file_one_is_made_and_taken_away(tmp_path: Path) -> None:
    ours = include(tmp_path)
    assert ours.install()
    assert stat.S_IMODE(ours.config.stat().st_mode) == 0o600
    assert stat.S_IMODE(ours.config.parent.stat().st_mode) == 0o700
    assert ours.remove() and not ours.config.exists() and not ours.backup.exists()


def test_what_was_written_meanwhile_stays(tmp_path: Path) -> None:
    ours = include(tmp_path)
    ours.config.parent.mkdir()
    ours.config.write_bytes(MINE)
    ours.install()
    ours.config.write_bytes(ours.config.read_bytes() + b"Host new\n")
    assert ours.remove()
    assert ours.config.read_bytes() == MINE + b"Host new\n"
    assert ours.backup.read_bytes() == MINE  # no longer the same: it is the person's to delete


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.write_bytes(MINE)
    ours = include(tmp_path)
    ours.config.parent.mkdir()
    ours.config.symlink_to(dotfiles)
    ours.install()
    assert ours.config.is_symlink() and dotfiles.read_bytes().endswith(MINE) and ours.installed
    ours.remove()
    assert ours.config.is_symlink() and dotfiles.read_bytes() == MINE


def test_what_others_may_write_is_no_longer_theirs(tmp_path: Path) -> None:
    ours = include(tmp_path)
    ours.config.parent.mkdir()
    ours.config.write_bytes(MINE)
    ours.config.chmod(0o666)  # ssh refuses such a file (ssh_config(5))
    ours.install()
    assert stat.S_IMODE(ours.config.stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ['a"b', "a*b", "a[1]", "$HOME", "a%h", "a\nb", "a\\b", "~a"])
def test_names_that_ssh_would_read_otherwise_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        include(tmp_path, name).install()
    assert "CHOLINE_HOME" in caught.value.hint
    assert not (tmp_path / ".ssh").exists()


def test_a_file_that_cannot_be_changed_is_an_error_of_ours(tmp_path: Path) -> None:
    ours = UserSsh(tmp_path / "names", tmp_path / "file" / "config")
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(ConfigError) as caught:
        ours.install()
    assert "ssh-config show" in caught.value.hint


@settings(deadline=None)  # a loaded disk is no mistake
@given(st.binary(max_size=200).filter(lambda b: b"Include" not in b))
def test_any_file_comes_back_byte_for_byte(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    ours = include(tmp_path_factory.mktemp("home"))
    ours.config.parent.mkdir()
    ours.config.write_bytes(data)
    ours.install()
    assert ours.installed and ours.config.read_bytes().endswith(data)
    ours.remove()
    assert ours.config.read_bytes() == data


def test_ssh_itself_follows_the_line(tmp_path: Path) -> None:
    needs("ssh")
    ours = include(tmp_path, "na mes")
    ours.names.write_text("Host choline-abc123\n  HostName 203.0.113.9\n  Port 41022\n")
    ours.names.chmod(0o600)
    ours.config.parent.mkdir()
    ours.config.write_bytes(b"Host other\n  Port 7\n")
    ours.install()

    def asked(host: str) -> list[str]:
        done = subprocess.run(
            ["ssh", "-F", str(ours.config), "-G", host], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    assert {"hostname 203.0.113.9", "port 41022"} <= set(asked("choline-abc123"))
    assert "port 7" in asked("other")
    ours.names.unlink()  # an engine that never ran has written none: ssh goes on without
    assert "port 7" in asked("other")
