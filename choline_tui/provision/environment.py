"""The set-up script that builds a run's environment with uv, and what its output says afterwards.

The script is POSIX sh, run by the supervisor in the job's set-up phase, in ``src/``. On the machine::

    ~/choline/.system/envs/<key>/     an environment; .complete in it is written last
                       <key>.lock     held by the job that looks for it or builds it
                       uv-cache/ python/ tools/     uv's cache, Pythons that it brought, uv itself
    ~/choline/<run>/environment.sh    what the command, and whoever enters the run, source
                    site/             the project's own packages, editable

An environment is shared by all runs with equal packages, so what is the run's own (its code) is not in it:
the environment's Python adds ``site/`` of the run that it is started in.
"""

import re
import shlex
from collections.abc import Iterable

from choline_tui.kernel.layout import ACTIVATE
from choline_tui.kernel.text import plain
from choline_tui.model.environment import Environment

__all__ = ["SAID", "entering", "setup_script", "told", "why_failed"]

LEAST_UV = (0, 8)
"""the first with all options that the script uses"""

SAID = b"choline: environment "
"""in a set-up's output: the line that ``told`` reads"""
_BEGIN = "choline: environment: "
_TOLD = re.compile(r"^choline: environment (built|reused) in (\d{1,6}\.\d) s$", re.MULTILINE)

_HEAD = r"""
say() { printf 'choline: environment: %s\n' "$*"; }
fail() { say "$*"; exit 1; }
now() {  # hundredths of a second
  read -r up _ < /proc/uptime; cents=${up#*.}; cents=${cents#0}; now=$((${up%.*} * 100 + ${cents:-0}))
}
now; begun=$now; last=$now
lap() { now; took=$((now - last)); last=$now; say "$* ($((took / 100)).$((took % 100 / 10)) s)"; }
system="${CHOLINE_ROOT%/*}/.system"
mkdir -p "$system/envs" "$system/tools"
export UV_CACHE_DIR="${UV_CACHE_DIR:-$system/uv-cache}" UV_PYTHON_INSTALL_DIR="$system/python"
export UV_NO_PROGRESS=1 NO_COLOR=1 UV_LINK_MODE="${UV_LINK_MODE:-hardlink}"
unset VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH
# a lock that ends with its holder: the file's, held open by this shell on 9
hold() {
  exec 9> "$1"
  if command -v flock > /dev/null 2>&1; then flock 9; else python3 -c 'import fcntl; fcntl.flock(9, 2)'; fi
}
"""

_APT = r"""
missing=
for each in @APT@; do
  name=${each%%=*}
  dpkg-query -W -f='${Status}\n' "$name" 2> /dev/null | grep -q 'ok installed' || missing="$missing $each"
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "these apt packages are missing, and this user may not install them:$missing"
  command -v apt-get > /dev/null 2>&1 || fail "there is no apt-get here to install:$missing"
  say "apt packages:$missing"
  hold "$system/apt.lock"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o DPkg::Lock::Timeout=300 update || say "apt-get update failed; its lists may be old"
  # shellcheck disable=SC2086
  apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing < /dev/null \
    || fail "apt-get could not install$missing"
  lap "apt packages are here"
fi
"""

_GET_UV = r"""
good() {
  [ -x "$1" ] || return 1
  version=$("$1" --version 2> /dev/null) || return 1
  version=${version#uv }; major=${version%%.*}; version=${version#*.}; minor=${version%%.*}
  case "$major$minor" in *[!0-9]*|'') return 1;; esac
  [ "$major" -gt @MAJOR@ ] || { [ "$major" -eq @MAJOR@ ] && [ "$minor" -ge @MINOR@ ]; }
}
find_uv() {
  for each in "$(command -v uv || :)" "$HOME/.local/bin/uv" "$system/tools/bin/uv"; do
    if [ -n "$each" ] && good "$each"; then uv=$each; return 0; fi
  done
  return 1
}
if ! find_uv; then
  hold "$system/uv.lock"
  if ! find_uv; then
    python=$(command -v python3 || command -v python) || fail "there is no Python here to get uv with"
    if ! "$python" -m pip --version > /dev/null 2>&1; then
      if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null 2>&1; then
        say "pip is missing: installing python3-pip"
        { apt-get -q update; DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install \
          --no-install-recommends python3-pip < /dev/null; } > "$system/tools/apt.log" 2>&1 || :
      fi
      "$python" -m pip --version > /dev/null 2>&1 || python=/usr/bin/python3
      "$python" -m pip --version > /dev/null 2>&1 \
        || fail "neither uv nor pip is here: take an image with one of them, or from = \"image\""
    fi
    say "getting uv"
    rm -rf "$system/tools.new"
    "$python" -m pip install -q --disable-pip-version-check --no-input --no-deps --only-binary :all: \
      --target "$system/tools.new" @PIP_INDEX@ 'uv>=@MAJOR@.@MINOR@' \
      || fail "uv could not be got from the package index"
    [ -x "$system/tools.new/bin/uv" ] || fail "the package uv has no program for this machine"
    rm -rf "$system/tools"; mv "$system/tools.new" "$system/tools"
    find_uv || fail "uv does not run on this machine"
    lap "uv is here"
  fi
fi
"""

_KEY = r"""
key=@KEY@
for each in @FILES@; do
  [ -f "$each" ] || fail "$each is not among the files that were sent"
done
seen=$(cat -- @FILES@ /dev/null | sha256sum); seen=${seen%% *}
if [ "$seen" != @DIGEST@ ]; then
  [ -z @MADE@ ] || fail "@SOURCE@ is not the one that this run was planned with: start a new run"
  key=$(printf %s "$key$seen" | sha256sum); key=$(printf %.32s "$key")
fi
env="$system/envs/$key"
hold "$env.lock"
"""

_BUILD = r"""
how=reused
if [ ! -f "$env/.complete" ] || ! "$env/bin/python" -c '' 2> /dev/null; then
  how=built
  [ ! -e "$env" ] || { say "an unfinished one is here: building it anew"; rm -rf "$env"; }
  @PYTHON_CHECK@
  say "building from @SOURCE_WORDS@"
  @INSTALL@
  lap "the packages are here"
  places=$("$env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    || fail "its Python does not run"
  printf '%s\n' 'import os, site; p = os.environ.get("CHOLINE_SITE"); p and site.addsitedir(p)' \
    > "$places/choline.pth"
  if [ ! -e "$env/bin/pip" ]; then
    printf '#!/bin/sh\nexec uv pip "$@"\n' > "$env/bin/pip"; chmod +x "$env/bin/pip"
  fi
  : > "$env/.complete"
fi
"""

_PYTHON = r"""
  if ! "$uv" python find -q @PYTHON@ > /dev/null 2>&1; then
    say "Python "@PYTHON@" is not on this machine: getting it"
    "$uv" python install @PYTHON@ || fail "Python "@PYTHON@" is not on this machine and could not be had"
    lap "Python "@PYTHON@" is here"
  fi"""

_MEMBERS = r"""
rm -rf "$CHOLINE_ROOT/site"
own() {
  "$uv" pip install -q --no-deps --python "$env/bin/python" --target "$CHOLINE_ROOT/site" @INDEXES@ "$@"
}
for each in @MEMBERS@; do
  # without the network first: what its build needs is in the cache from the second time on
  own --offline -e "$each" > "$CHOLINE_ROOT/site.log" 2>&1 || own -e "$each" \
  || fail "the project's own package in $each could not be installed"
done
rm -f "$CHOLINE_ROOT/site.log"
lap "the project's own packages are here"
"""

_END = r"""
cat > "$CHOLINE_ROOT/environment.sh" << EOF
# written by choline: the environment of this run
VIRTUAL_ENV="\${CHOLINE_ROOT%/*}/.system/envs/$key"
UV_PROJECT_ENVIRONMENT=\$VIRTUAL_ENV UV_NO_SYNC=1 CHOLINE_SITE=\$CHOLINE_ROOT/site
UV_CACHE_DIR="\${UV_CACHE_DIR:-\${CHOLINE_ROOT%/*}/.system/uv-cache}"
UV_PYTHON_INSTALL_DIR="\${CHOLINE_ROOT%/*}/.system/python"
PATH="\$CHOLINE_ROOT/site/bin:\$VIRTUAL_ENV/bin:\$PATH:\${CHOLINE_ROOT%/*}/.system/tools/bin"
export VIRTUAL_ENV UV_PROJECT_ENVIRONMENT UV_NO_SYNC CHOLINE_SITE UV_CACHE_DIR UV_PYTHON_INSTALL_DIR PATH
unset PYTHONHOME CONDA_PREFIX
EOF
now; took=$((now - begun))
printf 'choline: environment %s in %d.%d s\n' "$how" "$((took / 100))" "$((took % 100 / 10))"
"""


def setup_script(environment: Environment | None, setup: str = "") -> str:
    """The whole set-up of a job: the environment, and the project's own ``setup`` in it. '' for nothing."""
    if environment is None:
        return setup
    parts = [_HEAD]
    if environment.apt:
        parts.append(_filled(_APT, APT=_words(environment.apt)))
    if environment.built:
        parts += _built(environment)
    elif not environment.apt:
        return setup
    # not "( ... ) || exit": to the left of || the shell does not heed set -e
    script = f'(\nset -eu{"".join(parts)})\n[ "$?" -eq 0 ] || exit 1\n'
    return f"{script}{ACTIVATE} || exit 1\n{setup}" if setup.strip() else script


def entering(environment: Environment | None) -> list[str]:
    """Lines before a run's command."""
    return [f"{ACTIVATE} || exit 1"] if environment is not None and environment.built else []


def _built(environment: Environment) -> list[str]:
    indexes = _indexes(environment)
    pip_index = f"--index-url {shlex.quote(environment.index)}" if environment.index else ""
    python = shlex.quote(environment.python)
    parts = [
        _filled(_GET_UV, MAJOR=str(LEAST_UV[0]), MINOR=str(LEAST_UV[1]), PIP_INDEX=pip_index),
        _filled(
            _KEY,
            KEY=environment.key,
            FILES=_words(environment.files),
            DIGEST=environment.digest or "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            MADE="made" if environment.requirements else "''",
            SOURCE=_quiet(environment.source),
        ),
        _filled(
            _BUILD,
            PYTHON_CHECK=_filled(_PYTHON, PYTHON=python).strip() if environment.python else ":",
            SOURCE_WORDS=_quiet(environment.source or "nothing but Python"),
            INSTALL=_sync(environment) if environment.kind == "uv" else _pip(environment, indexes),
        ),
    ]
    if environment.members:
        members = _words(environment.members.values())
        parts.append(_filled(_MEMBERS, MEMBERS=members, INDEXES=indexes))
    parts.append(_END)
    return parts


def _filled(text: str, **values: str) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda said: values[said[1]] if said[1] in values else said[0], text)


def _words(values: Iterable[str]) -> str:
    return " ".join(shlex.quote(_path(value)) for value in values)


def _path(value: str) -> str:
    # a name that begins with a dash is no option
    return f"./{value}" if value.startswith("-") else value


def _quiet(text: str) -> str:
    """For a place inside double quotes."""
    return re.sub(r"[^\w./ +-]", "?", plain(text))[:200]


def _indexes(environment: Environment) -> str:
    parts = [f"--index-url {shlex.quote(environment.index)}"] if environment.index else []
    parts += [f"--extra-index-url {shlex.quote(url)}" for url in environment.extra_index]
    return " ".join(parts)


def _sync(environment: Environment) -> str:
    words = ["sync", "--frozen", "--no-install-project"]
    words += [f"--no-install-package={name}" for name in environment.members]
    words += [f"--extra={extra}" for extra in environment.extras]
    words += [f"--group={group}" for group in environment.groups]
    if environment.python:
        words += ["--python", environment.python]
    return f'UV_PROJECT_ENVIRONMENT="$env" "$uv" {shlex.join(words)} || fail "uv could not build it"'


def _pip(environment: Environment, indexes: str) -> str:
    python = f"--python {shlex.quote(environment.python)}" if environment.python else ""
    lines = [f'"$uv" venv -q {python} "$env" || fail "there is no Python for it"']
    words = [f"-r {shlex.quote(_path(path))}" for path in environment.read]
    for name, text in (("requirements", environment.requirements), ("constraints", environment.constraints)):
        if text.strip():
            mark = f"CHOLINE_{name.upper()}"
            lines.append(f"cat > \"$env/{name}.txt\" << '{mark}'\n{_inert(text, mark)}{mark}")
            words.append(f'-{name[0]} "$env/{name}.txt"')
    if environment.requirements.strip() or environment.read:
        options = [indexes]
        if environment.backend:
            options.append(f"--torch-backend {shlex.quote(environment.backend)}")
        options += ["--no-deps"] if environment.exact else []
        options += [f"--extra {shlex.quote(extra)}" for extra in environment.extras if environment.read]
        options += [f"--group {shlex.quote(group)}" for group in environment.groups if environment.read]
        lines.append(
            f'"$uv" pip install --python "$env/bin/python" {" ".join([*options, *words])} '
            '|| fail "uv could not install the packages"'
        )
    return "\n  ".join(lines)


def _inert(text: str, mark: str) -> str:
    """No line of foreign text ends the document that it is written in."""
    lines = text.replace("\r", "").replace("\0", "").split("\n")
    kept = [line for line in lines if line.strip() != mark]
    return "\n".join(kept).rstrip("\n") + "\n"


# --------------------------------------------------------------------------------------- what it said


def told(log: str) -> tuple[str, float] | None:
    """(``built`` or ``reused``, seconds) from a set-up's output; None when it did not get so far. Whoever
    runs the machine can write this line: it is shown, and nothing follows from it."""
    found = _TOLD.search(log)
    return (found[1], float(found[2])) if found else None


_PACKAGE = (
    re.compile(r"Failed to (?:build|download|fetch|extract|install|prepare)[^`\n]{0,60}`([^`\n]{1,120})`"),
    re.compile(r"Because (?:there are no versions of |there is no version of )?([\w.\[\]-]{1,80})[^\n]{0,200}"
               r"(?:was not found|no versions|has no wheels|not available|unsatisfiable)"),
    re.compile(r"because there are no versions of ([\w.-]{1,80})"),
    re.compile(r"[Dd]istribution `([^`\n]{1,120})`"),
)  # fmt: skip


def why_failed(log: str) -> str:
    """Why an environment could not be built, in one inert line of at most 400 characters: the package, and
    what uv last said. '' when the set-up's output does not come from the environment, or it was built."""
    text = plain(log[-20_000:])
    if told(text) is not None or _BEGIN not in text:
        return ""
    own = [line[len(_BEGIN) :] for line in text.split("\n") if line.startswith(_BEGIN)]
    foreign = [line.strip() for line in text.split("\n") if line.strip() and not line.startswith("choline: ")]
    start = next(
        (n for n in range(len(foreign) - 1, -1, -1) if re.match(r"[×x✗]\s|error:|E: ", foreign[n])),
        max(0, len(foreign) - 3),
    )
    said = " ".join(re.sub(r"^[\s│├╰─▶▸×✗x]+", "", line) for line in foreign[start : start + 4])
    whole = "\n".join(foreign)
    names = [found[1] for each in _PACKAGE if (found := each.search(whole)) and "://" not in found[1]]
    package = names[0] if names else ""
    words = f"the environment could not be built: {own[-1]}"
    if package:
        words += f" ({package})"
    return f"{words}: {said}"[:400] if said and not own[-1].startswith("Python ") else words[:400]
