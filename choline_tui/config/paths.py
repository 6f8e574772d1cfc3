"""Every file of this home, by name. Nothing is made until ``ensure`` (or the one who writes) makes it.

With ``CHOLINE_HOME`` everything lies below that one directory; without it config, data, state and cache
lie where the platform wants them (XDG on Linux; platformdirs).
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from choline_tui.kernel.errors import ConfigError

__all__ = ["MAX_SOCKET_BYTES", "Paths"]

MAX_SOCKET_BYTES = 100
"""Longest path of a Unix socket we use: ``sun_path`` holds 108 bytes on Linux, 104 on the BSDs and
macOS, with the closing zero (unix(7), unix(4))."""


class Paths:
    """The files of one home.

    ``home``: the one directory of everything, as ``CHOLINE_HOME`` would name it (which it overrides);
    None: what ``environ`` (default: the process's environment) and the platform say.
    """

    def __init__(self, home: Path | str | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._environ: Mapping[str, str] = os.environ if environ is None else environ
        chosen = str(home) if home is not None else self._environ.get("CHOLINE_HOME", "")
        self.home: Path | None = None
        if not chosen.isprintable():
            raise ConfigError(f"CHOLINE_HOME {chosen!r} holds characters that cannot be shown")
        if chosen:
            self.home = Path(os.path.abspath(os.path.expanduser(chosen)))
            self.config_dir = self.data_dir = self.state_dir = self.home
            self.cache_dir = self.home / "cache"
        else:
            import platformdirs

            dirs = platformdirs.PlatformDirs("choline", appauthor=False)
            self.config_dir = dirs.user_config_path
            self.data_dir = dirs.user_data_path
            self.state_dir = dirs.user_state_path
            self.cache_dir = dirs.user_cache_path

    def __repr__(self) -> str:
        return f"Paths(config={str(self.config_dir)!r}, data={str(self.data_dir)!r})"

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"

    @property
    def filters_file(self) -> Path:
        """Saved filters, by name."""
        return self.config_dir / "filters.toml"

    @property
    def store(self) -> Path:
        """The database (SQLite)."""
        return self.data_dir / "choline.db"

    @property
    def ssh_dir(self) -> Path:
        """Our own key pair and what hosts were pinned; mode 0700."""
        return self.data_dir / "ssh"

    @property
    def ssh_names(self) -> Path:
        """OpenSSH configuration with a name (``choline-RUN``) for each machine we have now."""
        return self.ssh_dir / "config"

    @property
    def here_dir(self) -> Path:
        """Home directory of the runs of ``--place here``."""
        return self.data_dir / "here"

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"

    def run_dir(self, run: str) -> Path:
        """Logs, frozen code and evidence of one run. ``ValueError`` for an id that is not a plain name."""
        if not run or run.startswith(".") or not all(c.isalnum() or c in "-_." for c in run):
            raise ValueError("bad run id")
        return self.runs_dir / run

    def code_dir(self, run: str) -> Path:
        """Manifest of a run's frozen code."""
        return self.run_dir(run) / "code"

    @property
    def objects_dir(self) -> Path:
        """Contents of all frozen code, by digest; shared between runs."""
        return self.data_dir / "objects"

    @property
    def hashes(self) -> Path:
        """Hashes of data that was sent, by path, size and times (SQLite)."""
        return self.cache_dir / "hashes.db"

    @property
    def engine_lock(self) -> Path:
        return self.state_dir / "engine.lock"

    @property
    def engine_log(self) -> Path:
        return self.state_dir / "engine.log"

    @property
    def crash_dir(self) -> Path:
        """One text file for each error that nobody foresaw."""
        return self.state_dir / "crashes"

    @property
    def engine_socket(self) -> Path:
        """The engine's Unix socket; beside the lock when that path is short enough, else in a private
        directory with a short name, the same for everyone who asks for this home.

        ``ConfigError`` when such a directory exists and belongs to someone else or is open to others.
        """
        plain = self.state_dir / "engine.sock"
        if len(os.fsencode(plain)) < MAX_SOCKET_BYTES:
            return plain
        name = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:16]
        runtime = self._environ.get("XDG_RUNTIME_DIR", "")
        candidates = [Path(runtime) / "choline"] if os.path.isabs(runtime) and os.path.isdir(runtime) else []
        # never TMPDIR: it differs between sessions of one user, the socket's place must not
        candidates.append(Path("/tmp") / f"choline-{os.getuid()}")  # noqa: S108
        for base in candidates:
            path = base / name / "engine.sock"
            if len(os.fsencode(path)) < MAX_SOCKET_BYTES:
                _private(base)
                _private(base / name)
                return path
        raise ConfigError(
            "there is no place with a name short enough for the engine's socket",
            hint="Set CHOLINE_HOME to a directory with a shorter path.",
        )

    def ensure(self) -> "Paths":
        """Make the directories of config, data, state, cache, runs, objects and ssh, readable by us only.

        ``ConfigError`` when one cannot be made or written.
        """
        wanted = (self.config_dir, self.data_dir, self.state_dir, self.cache_dir)
        for directory in (*wanted, self.runs_dir, self.objects_dir, self.ssh_dir):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"cannot make the directory {directory}: {error.strerror or error}",
                    hint="Set CHOLINE_HOME to a directory you may write to.",
                ) from None
            if not os.access(directory, os.W_OK | os.X_OK):
                raise ConfigError(
                    f"cannot write in the directory {directory}",
                    hint="Set CHOLINE_HOME to a directory you may write to.",
                )
        if stat.S_IMODE(self.ssh_dir.stat().st_mode) & 0o077:
            self.ssh_dir.chmod(0o700)
        return self


def _private(directory: Path) -> None:
    """Make ``directory`` (0700), or check that it is a directory of ours that nobody else can enter.

    /tmp belongs to everyone: a directory someone else made there would let them stand between a person
    and their engine.
    """
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"cannot make the directory {directory}: {error.strerror}") from None
    seen = os.lstat(directory)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or stat.S_IMODE(seen.st_mode) & 0o077:
        raise ConfigError(
            f"{directory} is not a private directory of yours",
            hint="Remove it, or set CHOLINE_HOME to a directory with a shorter path.",
        )
