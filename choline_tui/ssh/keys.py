"""Choline's own SSH key: made on first use, never leaves this computer."""

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from choline_tui.kernel.errors import ConfigError

__all__ = ["KeyPair", "ensure_key", "write_private"]

_NAME = "id_ed25519"


@dataclass(frozen=True)
class KeyPair:
    """``public`` is one OpenSSH line: ``ssh-ed25519 AAAA... comment``. The private half stays a file."""

    private_path: Path
    public: str


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 in one step: a reader sees the old content or the new, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def ensure_key(directory: Path, comment: str) -> KeyPair:
    """The ed25519 key in ``directory``, made when there is none yet; two processes at once get the same.

    ``comment`` ends the public line (shown in the account's list of keys). Raises ``ConfigError`` when
    the directory cannot be written or the file in it is no private key.
    """
    import asyncssh

    comment = " ".join(comment.split())
    private_path = directory / _NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(directory / f"{_NAME}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not private_path.exists():
                fresh = asyncssh.generate_private_key("ssh-ed25519", comment)
                write_private(private_path, fresh.export_private_key("openssh"))
            if private_path.stat().st_mode & 0o077:
                # OpenSSH's client refuses a key that others may read
                private_path.chmod(0o600)
            key = asyncssh.read_private_key(private_path)
            public = _public_line(key.export_public_key("openssh"), comment)
            published = private_path.with_suffix(".pub")
            if not published.exists():
                write_private(published, public.encode() + b"\n")
    except OSError as error:
        raise ConfigError(
            f"The SSH key in {directory} cannot be made or read: {error.strerror}.",
            hint="Check the owner and the permissions of that directory.",
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigError(
            f"{private_path} is not a private key that choline can use.",
            hint="Move that file away: choline then makes a new key.",
        ) from error
    return KeyPair(private_path, public)


def _public_line(exported: bytes, comment: str) -> str:
    words = exported.decode("utf-8", "replace").split(None, 2)
    words = [*words[:2], words[2].strip() if len(words) > 2 else comment]
    return " ".join(word for word in words if word)
