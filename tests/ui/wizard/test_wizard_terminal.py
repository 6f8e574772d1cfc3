"""``choline init`` on a real terminal."""

import os
import sys
from pathlib import Path

from tests.support import needs
from tests.support.tmux import Tmux


def test_init_on_a_terminal_is_the_wizard_and_starts_no_engine(tmp_path: Path) -> None:
    needs("tmux")
    top = tmp_path / "tiny"
    top.mkdir()
    (top / "train.py").write_text('if __name__ == "__main__":\n    pass\n')
    home = tmp_path / "home"
    environ = {**os.environ, "CHOLINE_HOME": str(home), "TERM": "xterm-256color", "HOME": str(tmp_path)}
    program = f"cd {top} && {sys.executable} -m choline_tui init --no-schema; echo ended $?; exec sleep 600"
    with Tmux(tmp_path / "tmux", program, columns=160, rows=40, env=environ) as terminal:
        terminal.waits("what a run is made of")
        terminal.presses("C-r")
        terminal.waits("right; ctrl+s writes it")
        terminal.presses("C-s")
        terminal.waits("choline.toml written", "ended 0")
    assert 'command = "python train.py"' in (top / "choline.toml").read_text()
    assert not home.exists(), "to write a file nothing has to run"
