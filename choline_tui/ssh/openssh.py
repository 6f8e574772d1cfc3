"""How OpenSSH's client reaches the machine an asyncssh connection is open to, with the same host key.

Everything goes through two files of mode 0600: a client configuration and the pinned host key. So no
argument holds a path that needs quoting or a name that looks like an option, and nothing is asked.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from choline_tui.kernel.errors import RemoteError
from choline_tui.kernel.session import Address
from choline_tui.ssh.keys import write_private

__all__ = ["OpenSsh", "check_address"]

_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]{0,254}")
_CIPHERS = (
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"
    "aes128-ctr,aes192-ctr,aes256-ctr"
)
"""OpenSSH's own, with AES-GCM first: with AES instructions it moves bulk bytes a quarter faster."""
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,127}\$?")


def check_address(address: Address) -> None:
    """``RemoteError`` unless host, port and user can be nothing but that (they come from the market)."""
    ok = _HOST.fullmatch(address.host) and 0 <= address.port <= 65535
    if not ok or (address.user and not _USER.fullmatch(address.user)):
        raise RemoteError(
            "The address of the machine is not one that SSH could use.",
            hint="Check its host, port and user.",
        )


@dataclass(frozen=True)
class OpenSsh:
    """``ssh -F <config> <target>`` for one machine. ``ssh_config`` is the user's own, for own machines."""

    name: str
    address: Address
    host_key: str
    private_path: Path
    directory: Path
    """where the two files are written"""
    ssh_config: Path | None = None
    use_agent: bool = True
    connect_timeout: float = 15.0
    keepalive: float = 15.0

    @property
    def alias(self) -> str:
        """The name under which the host key is pinned; the same for every address of the machine."""
        return self.alias_of(self.name)

    @staticmethod
    def alias_of(name: str) -> str:
        return "choline-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:20]

    @property
    def target(self) -> str:
        """What to call the machine on ``ssh``'s command line: an own machine's alias is the user's."""
        return self.address.host if self.address.kind == "own" else self.alias

    @property
    def usable(self) -> bool:
        """False when a path cannot be written into a configuration file at all."""
        paths = [self.private_path, self.directory, *([self.ssh_config] if self.ssh_config else [])]
        return not any(c in str(path) for path in paths for c in '"\\\n\r') and not (
            # ssh expands ${NAME} in these paths
            any("${" in str(path) for path in paths)
        )

    def write(self) -> Path:
        """Write both files and return the path of the configuration. Raises ``OSError``."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        pinned = self.directory / f"{self.alias}.hosts"
        config = self.directory / f"{self.alias}.conf"
        _write_if_new(pinned, f"{self.alias} {self.host_key}\n".encode())
        _write_if_new(config, self._config(pinned).encode("utf-8", "surrogateescape"))
        return config

    def block(self, name: str) -> str:
        """The machine as ``Host name``, for other tools to use as they are used: what protects from a
        stranger is set and cannot be unset by what comes later in a configuration; the rest is theirs.
        The pinned host key is written beside. Raises ``OSError``."""
        self.write()
        address = self.address
        return "\n".join(
            [
                f"Host {name}",
                f"  HostName {address.host.replace('%', '%%')}",
                *([f"  Port {address.port}"] if address.port else []),
                *([f"  User {address.user}"] if address.user else []),
                f"  HostKeyAlias {self.alias}",
                f"  UserKnownHostsFile {_quoted(self.directory / (self.alias + '.hosts'))}",
                "  GlobalKnownHostsFile /dev/null",
                "  StrictHostKeyChecking yes",
                "  UpdateHostKeys no",
                "  CheckHostIP no",
                f"  HostKeyAlgorithms {_algorithms(self.host_key)}",
                f"  IdentityFile {_quoted(self.private_path)}",
                f"  IdentitiesOnly {'no' if self.use_agent else 'yes'}",
                "  PreferredAuthentications publickey",
                "  ForwardAgent no",
                "  ForwardX11 no",
                f"  ServerAliveInterval {max(1, round(self.keepalive))}",
                "",
            ]
        )

    def _config(self, pinned: Path) -> str:
        address = self.address
        lines = [f"Host {self.target}"]
        own = address.kind == "own"
        if not own:
            lines.append(f"HostName {address.host.replace('%', '%%')}")
        if address.port:
            lines.append(f"Port {address.port}")
        if address.user:
            lines.append(f"User {address.user}")
        lines += [
            f"HostKeyAlias {self.alias}",
            f"UserKnownHostsFile {_quoted(pinned)}",
            "GlobalKnownHostsFile /dev/null",
            "StrictHostKeyChecking yes",
            "UpdateHostKeys no",
            "CheckHostIP no",
            f"HostKeyAlgorithms {_algorithms(self.host_key)}",
            f"Ciphers {_CIPHERS}",
            f"IdentityFile {_quoted(self.private_path)}",
            # a stranger's machine is offered our key and the agent's, not every file in ~/.ssh
            f"IdentitiesOnly {'no' if self.use_agent else 'yes'}",
            "BatchMode yes",
            "PreferredAuthentications publickey",
            "GSSAPIAuthentication no",
            f"ConnectTimeout {max(1, round(self.connect_timeout))}",
            f"ServerAliveInterval {max(1, round(self.keepalive))}",
            "ServerAliveCountMax 3",
            "ControlMaster no",
            "ControlPath none",
            "ClearAllForwardings yes",
            "ForwardAgent no",
            "ForwardX11 no",
            "PermitLocalCommand no",
            "RequestTTY no",
            "EscapeChar none",
            "Compression no",
            "LogLevel ERROR",
        ]
        if own and self.ssh_config is not None:
            # ours come first and win; jump hosts match only the user's own part
            lines += ["Match all", f"Include {_quoted(self.ssh_config)}"]
        return "\n".join(lines) + "\n"


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'


def _algorithms(host_key: str) -> str:
    kind = host_key.split()[0]
    return "rsa-sha2-512,rsa-sha2-256" if kind == "ssh-rsa" else kind


def _write_if_new(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_private(path, data)
