"""One line of ours in the user's own SSH configuration, put in and taken out on request only."""

import os
import pwd
import re
import stat
import tempfile
from pathlib import Path

from choline_tui.kernel.errors import ConfigError

__all__ = ["UserSsh", "user_config"]

MARK = "# added by choline; 'choline ssh-config remove' takes it out"
_UNFIT = re.compile(r"""[\x00-\x1f\x7f"'\\*?\[\]${}%~#]""")
"""what ssh's Include would take for a pattern, a variable, a token or a quote (ssh_config(5))"""


def user_config() -> Path:
    """Where OpenSSH looks for it: in the home of the account, whatever HOME says (ssh(1), FILES). Raises
    ConfigError for an account that has none."""
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise ConfigError(
            f"the account {os.getuid()} is not known on this computer, so ssh has no configuration for it",
            hint="--file names another one.",
        ) from None
    return Path(home) / ".ssh" / "config"


class UserSsh:
    """``names``: the file to include. ``config``: the user's file (None: ``~/.ssh/config``).

    The line stands before everything else, for within a ``Host`` block it would count for that host only.
    Nothing else in the file is touched. Every method raises ``ConfigError`` when a file cannot be read or
    written.
    """

    def __init__(self, names: Path, config: Path | None = None) -> None:
        self.names = names
        self.config = config if config is not None else user_config()

    @property
    def backup(self) -> Path:
        """The user's file as it was before the line was put in."""
        return self.config.with_name(self.config.name + ".before-choline")

    @property
    def line(self) -> str:
        """Raises ConfigError when no such line can name the file."""
        if _UNFIT.search(str(self.names)):
            raise ConfigError(
                f"ssh cannot include a file with such a name: {self.names}",
                hint="Set CHOLINE_HOME to a directory with a plain name.",
            )
        return f'Include "{self.names}"'

    @property
    def installed(self) -> bool:
        return any(self._ours(line) for line in self._read().split(b"\n"))

    def install(self) -> bool:
        """Put the line in; False when it was there. The file as it was is kept beside it."""
        added = f"{MARK}\n{self.line}\n\n".encode()
        if self.installed:
            return False
        old = self._read()
        if self.config.exists():
            self._write(self.backup, old)
        self._write(self.config, added + old)
        return True

    def remove(self) -> bool:
        """Take the line out; False when it was not there. A file that held nothing else and was made by
        ``install`` goes too, and so does the copy of before when nothing has changed since."""
        old = self._read()
        new = self._without(old)
        if new == old:
            return False
        try:
            before = self.backup.read_bytes() if self.backup.exists() else None
            if not new and before is None:
                self.config.unlink()
            else:
                self._write(self.config, new)
            if before == new:
                self.backup.unlink()
        except OSError as error:
            raise self._failed(error) from None
        return True

    def _ours(self, line: bytes) -> bool:
        return line.strip() == self.line.encode()

    def _without(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        kept: list[bytes] = []
        at = 0
        while at < len(lines):
            if lines[at].strip() == MARK.encode() and at + 1 < len(lines) and self._ours(lines[at + 1]):
                at += 2
            elif self._ours(lines[at]):
                at += 1
            else:
                kept.append(lines[at])
                at += 1
                continue
            if at < len(lines) and not lines[at].strip():
                at += 1  # the empty line that came with it
        return b"\n".join(kept)

    def _read(self) -> bytes:
        try:
            return self.config.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._failed(error) from None

    def _write(self, path: Path, data: bytes) -> None:
        """All at once, with the mode the file had; a link (dotfiles kept elsewhere) stays one."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            target = path.resolve()
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    # ssh refuses a configuration that others may write
                    os.fchmod(file.fileno(), mode & ~0o022)
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"cannot change {self.config}: {error.strerror or error}",
            hint="Correct its permissions, or add the line yourself: 'choline ssh-config show' prints it.",
        )
