"""The shell that runs on a remote before anything of ours is there. POSIX sh, given on ``sh -s``'s stdin.

A login shell may print anything before or after us, so every line that counts carries a mark.
"""

import base64
import json
import shlex

from choline_tui.kernel import layout
from choline_tui.kernel.nvidia_smi import QUERY
from choline_tui.kernel.protocol import Lease

__all__ = ["EVIDENCE", "LAUNCHER", "MARK", "evidence", "marked", "prepare", "probe"]

MARK = "choline:"
LAUNCHER = layout.LAUNCHER
"""Starts the supervisor's program with the Python that was found; every verb goes through it."""

_FIND_PYTHON = """\
PY= PYV=
for p in python3 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python3.14 \\
  /usr/bin/python3 /usr/local/bin/python3 /opt/conda/bin/python3 /venv/main/bin/python3 \\
  "$HOME/.local/bin/python3" "$HOME/.choline-python/bin/python3" python; do
  q=$(command -v "$p" 2>/dev/null) || continue
  v=$("$q" -I -S -c 'import sys
if sys.version_info >= (3, 8): print("%d.%d.%d %s" % (sys.version_info[:3] + (sys.executable,)))
' </dev/null 2>/dev/null) || continue
  [ -n "$v" ] && PYV=${v%% *} PY=${v#* } && break
done
"""

_LIMIT = (
    "L=; command -v timeout >/dev/null 2>&1 && L='timeout 20'\n"
    # some programs (a driver that hangs) do not end when they are asked to
    "[ -n \"$L\" ] && timeout -k 1 5 true >/dev/null 2>&1 && L='timeout -k 5 20'\n"
)

_MOST_GPU = "2600"
"""bytes of what nvidia-smi says that are heard. It runs beside the rest, into the same pipe: what is longer
than 4,096 bytes with its marks, or ends within a line, would be mixed with other lines"""

_PROBE = """\
cd || exit 3
S=@SYSTEM@
echo "choline:home=$HOME"
( $L @NVIDIA@ </dev/null 2>&1; echo "choline-exit $?" ) |
  { head -c @MOST_GPU@; echo; } | sed '$d;s/^/choline:gpu=/' &
G=$S/guard
U=$(sed -n 's/^VAST_URL=//p' "$G/env" 2>/dev/null)
if [ -n "$U" ]; then
  p=$(cat "$G/pid" 2>/dev/null)
  [ -n "$p" ] && kill -0 "$p" 2>/dev/null && echo choline:guard=1
  ( U="$U/api/v0/gpu_names/unique/"
    if command -v curl >/dev/null 2>&1; then curl -sS -m 15 -o /dev/null "$U"
    elif command -v wget >/dev/null 2>&1; then wget -q -T 15 -t 1 -O /dev/null "$U"
    else exit 0; fi </dev/null 2>/dev/null
    echo "choline:market=$?" ) &
fi
echo "choline:disk=$(df -Pk . 2>/dev/null | tail -n 1)"
command -v rsync >/dev/null 2>&1 && echo choline:rsync=1
if [ -f "$S/supervisor.pyz" ]; then
  echo "choline:installed=$(head -n 2 "$S/supervisor.pyz" | tail -n 1 | head -c 200)"
fi
if [ -f "$S/supervisor.json" ]; then
  p=$(sed -n 's/.*"pid": *\\([0-9][0-9]*\\).*/\\1/p' "$S/supervisor.json" | head -n 1)
  if [ -n "$p" ] && kill -0 "$p" 2>/dev/null &&
    { [ ! -r "/proc/$p/cmdline" ] || grep -q supervisor.pyz "/proc/$p/cmdline"; }; then
    echo "choline:beat=$(head -c 2000 "$S/supervisor.json")"
  fi
fi
@PYTHON@
echo "choline:python=$PYV $PY"
wait
"""

_PREPARE = """\
cd || exit 3
@PYTHON@
if [ -z "$PY" ]; then echo choline:nopython=1; exit 3; fi
(umask 077; mkdir -p @SYSTEM@ && chmod 700 @SYSTEM@) || exit 4
Q=$(printf %s "$PY" | sed "s/'/'\\\\\\\\''/g")
printf '%s\\n' "exec '$Q' -I -S \\"\\${0%/*}/supervisor.pyz\\" \\"\\$@\\"" >@LAUNCHER@.$$ &&
mv @LAUNCHER@.$$ @LAUNCHER@ || exit 4
"""

_INSTALL = """\
"$PY" -I -S -c 'import base64, io, os, sys
data = base64.b64decode(sys.stdin.read())
path = "@PROGRAM@"
try:
    # compiled once: else every verb would do it anew, which takes longer than what it is asked for
    import marshal, zipfile
    from importlib.util import MAGIC_NUMBER
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as z:
        for name in z.namelist():
            code = compile(z.read(name), name, "exec", dont_inherit=True)
            z.writestr(name + "c", MAGIC_NUMBER + bytes([1]) + bytes(11) + marshal.dumps(code))
    data = out.getvalue()
except Exception:
    pass
with open(path + ".new", "wb") as f:
    f.write(data)
    f.flush()
    os.fsync(f.fileno())
os.rename(path + ".new", path)
' <<'CHOLINE' || exit 4
@DATA@
CHOLINE
"""

_RUN = """\
sh @LAUNCHER@ prepare @RUN@ <<'CHOLINE'
@LEASE@
CHOLINE
"""

_EVIDENCE = (
    ("nvidia-smi", "nvidia-smi; nvidia-smi -q | tail -n 400"),
    ("dmesg", "dmesg -T 2>/dev/null | tail -n 400 || dmesg | tail -n 400"),
    ("disk", "df -h; df -i"),
    ("memory", "free -m 2>/dev/null || head -n 20 /proc/meminfo"),
    ("processes", "ps aux 2>/dev/null | head -n 200 || ps | head -n 200"),
    ("supervisor.log", f"tail -c 60000 {layout.SYSTEM}/supervisor.log"),
    ("guard.log", f"tail -c 60000 {layout.GUARD}/guard.log"),
    ("onstart", "tail -c 60000 /var/log/onstart.log"),
)


EVIDENCE = frozenset(name for name, _ in _EVIDENCE)


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def probe() -> bytes:
    """Look at the machine and change nothing."""
    return (
        _LIMIT + _fill(_PROBE, SYSTEM=layout.SYSTEM, NVIDIA=QUERY, PYTHON=_FIND_PYTHON, MOST_GPU=_MOST_GPU)
    ).encode()


def prepare(run: str, lease: Lease, *, python: str, program: bytes | None) -> bytes:
    """Folders, program (when given), lease, supervisor. ``python``: found before; '' to look again."""
    find = f"PY={shlex.quote(python)}\n" if python else _FIND_PYTHON
    script = _fill(_PREPARE, PYTHON=find, SYSTEM=layout.SYSTEM, LAUNCHER=LAUNCHER)
    if program is not None:
        data = base64.encodebytes(program).decode("ascii").rstrip("\n")
        script += _fill(_INSTALL, PROGRAM=layout.SUPERVISOR, DATA=data)
    script += _fill(_RUN, LAUNCHER=LAUNCHER, RUN=shlex.quote(run), LEASE=json.dumps(lease.to_wire()))
    return script.encode("utf-8", "surrogateescape")


def evidence(boundary: str) -> bytes:
    """What helps to understand a failure, each part after a line of boundary and name."""
    lines = ["cd"]
    lines.append(_LIMIT)
    for name, command in _EVIDENCE:
        lines.append(f"printf '\\n%s %s\\n' {boundary} {shlex.quote(name)}")
        lines.append(f"$L sh -c {shlex.quote(command)} </dev/null 2>&1 | head -c 65536")
    lines.append(f"printf '\\n%s end\\n' {boundary}")
    return ("\n".join(lines) + "\n").encode()


def marked(output: bytes) -> dict[str, list[str]]:
    """Values of the marked lines by their key, in order; bounded, the rest is dropped."""
    found: dict[str, list[str]] = {}
    for line in output[: 1 << 20].decode("utf-8", "surrogateescape").splitlines():
        if line.startswith(MARK):
            key, equals, value = line[len(MARK) :].partition("=")
            if equals and len(found) < 100:
                values = found.setdefault(key[:50], [])
                if len(values) < 1000:
                    values.append(value)
    return found
