import stat
import subprocess
import sys
from pathlib import Path

import pytest

from choline_tui.kernel.errors import ConfigError
from choline_tui.ssh.keys import ensure_key
from tests.support import needs


def test_made_once_private_and_read_by_openssh(tmp_path: Path) -> None:
    needs("ssh-keygen")
    first = ensure_key(tmp_path / "new", "choline-h1\nx")
    again = ensure_key(tmp_path / "new", "choline-h1 x")
    assert first == again
    assert first.public.startswith("ssh-ed25519 ") and first.public.endswith(" choline-h1 x")
    assert stat.S_IMODE(first.private_path.stat().st_mode) == 0o600
    derived = subprocess.check_output(["ssh-keygen", "-y", "-f", str(first.private_path)], text=True)
    assert derived.split()[:2] == first.public.split()[:2]


def test_loose_permissions_are_mended(tmp_path: Path) -> None:
    key = ensure_key(tmp_path, "c")
    key.private_path.chmod(0o644)
    ensure_key(tmp_path, "c")
    assert stat.S_IMODE(key.private_path.stat().st_mode) == 0o600


def test_processes_at_once_get_the_same_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from choline_tui.ssh.keys import ensure_key;"
        "print(ensure_key(Path(sys.argv[1]), 'c').public)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "k")], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    lines = {racer.communicate()[0] for racer in racers}
    assert len(lines) == 1 and lines.pop().startswith(b"ssh-ed25519 ")


def test_what_is_no_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_text("hello")
    with pytest.raises(ConfigError, match="not a private key"):
        ensure_key(tmp_path, "c")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        ensure_key(tmp_path / "file", "c")
