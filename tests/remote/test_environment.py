"""Whoever enters a run is in its environment; one that has none, or has lost it, is entered all the same."""

import subprocess

from tests.remote.box import Remote
from tests.support import wait_until

ENVIRONMENT = (
    'VIRTUAL_ENV="${CHOLINE_ROOT%/*}/env" PATH="$CHOLINE_ROOT/site/bin:$PATH"; export VIRTUAL_ENV PATH\n'
)


def test_entering(remote: Remote) -> None:
    hold = remote.path("hold")
    write = "cat > \"$CHOLINE_ROOT/environment.sh\" << 'EOF'\n" + ENVIRONMENT + "EOF"
    remote.submit("r-1", f"while [ ! -e {hold} ]; do sleep 0.05; done", setup=write)
    remote.running("r-1")
    assert remote.enter("r-1", 'echo "$VIRTUAL_ENV"') == f"{remote.home}/choline/env\n".encode()
    # a shell to type into
    shell = subprocess.run(
        remote.argv("enter", "r-1"), input=b'echo "at ${PATH%%:*}"\n', capture_output=True,
        env={**remote.env, "SHELL": "/bin/sh"}, timeout=60,
    )  # fmt: skip
    assert f"at {remote.home}/choline/r/site/bin".encode() in shell.stdout, shell.stderr
    (remote.home / "choline/r/environment.sh").unlink()
    assert remote.enter("r-1", 'echo "<$VIRTUAL_ENV>"') == b"<>\n"
    (remote.home / "hold").write_text("")
    wait_until(lambda: remote.status("r-1").state == "ended", what="the end")
