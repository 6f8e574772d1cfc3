"""Opening SSH connections: addresses in order, the host key pinned, one connection per machine.

What went wrong is told apart, because what to do next differs: ``SshRefused`` (nothing listens yet),
``SshTimeout`` (no answer), ``SshDenied`` (the key is not accepted yet), ``HostKeyChanged`` (another
machine answers; raised during key exchange, before a user name or a key is sent).
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncssh

from choline_tui.kernel.clock import Clock, SystemClock
from choline_tui.kernel.errors import (
    HostKeyChanged,
    RemoteError,
    SshDenied,
    SshRefused,
    SshTimeout,
)
from choline_tui.kernel.session import Address
from choline_tui.ssh.connection import SshConnection, one_line
from choline_tui.ssh.keys import KeyPair
from choline_tui.ssh.openssh import OpenSsh, check_address

__all__ = ["SshPool"]

_KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group14-sha256",
)
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_TELLING = (SshTimeout, SshRefused, RemoteError, SshDenied, HostKeyChanged)
"""from the least to the most telling, when several addresses fail in different ways"""


class SshPool:
    """Connections by name. ``known_hosts_dir`` holds the files OpenSSH's client is pinned with.

    ``ssh_config`` is read for own machines only (``Address(kind="own")``, whose host may be an alias
    there; its port 0 and user '' leave both to that file); None: no such file. ``connect_timeout`` and
    ``keepalive`` in s: a connection silent for three keep-alives is lost. ``use_agent``: offer the SSH
    agent's keys after choline's own.
    """

    def __init__(
        self,
        key: KeyPair,
        *,
        known_hosts_dir: Path,
        clock: Clock | None = None,
        ssh_config: Path | None = Path("~/.ssh/config"),
        use_agent: bool = True,
        connect_timeout: float = 15.0,
        keepalive: float = 15.0,
    ) -> None:
        self._key = key
        self._directory = known_hosts_dir
        self._clock: Clock = clock or SystemClock()
        config = ssh_config.expanduser() if ssh_config else None
        self._ssh_config = config if config and config.is_file() else None
        self._use_agent = use_agent
        self._connect_timeout = connect_timeout
        self._keepalive = keepalive
        self._open: dict[str, SshConnection] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._silent: dict[tuple[str, Address], float] = {}
        self._closed = False

    async def connect(
        self, addresses: Sequence[Address], *, host_key: str | None = None, name: str
    ) -> SshConnection:
        """The open connection called ``name``, or a new one to the first address that lets us in.

        ``host_key`` is what the machine must present (an OpenSSH public key line); None at first
        contact: the caller keeps ``connection.host_key``. Raises ``SshRefused``, ``SshTimeout``,
        ``SshDenied`` or ``HostKeyChanged``: the most telling one when all addresses fail. At
        ``HostKeyChanged`` no further address is tried.
        """
        if self._closed:
            raise RemoteError("The connection pool is closed.")
        if not addresses:
            raise SshRefused("The machine has no address yet.", hint="It is still starting; try again.")
        for address in addresses:
            check_address(address)
        async with self._locks.setdefault(name, asyncio.Lock()):
            existing = self._open.get(name)
            if existing is not None:
                if not existing.lost and existing.address in addresses:
                    if host_key is not None and _bare(host_key) != existing.host_key:
                        raise _changed(existing.address, existing.host_key)
                    return existing
                del self._open[name]
                await existing.close()
            connection = await self._first(addresses, host_key, name)
            if self._closed:
                await connection.close()
                raise RemoteError("The connection pool is closed.")
            self._open[name] = connection
            return connection

    async def close(self) -> None:
        """Close every connection; the pool opens no more."""
        self._closed = True
        connections = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(connection.close() for connection in connections))

    async def forget(self, name: str) -> None:
        """Close the connection called ``name`` and remove what was written about that machine."""
        connection = self._open.pop(name, None)
        if connection is not None:
            await connection.close()
        self._locks.pop(name, None)
        self._silent = {key: value for key, value in self._silent.items() if key[0] != name}
        for path in self._directory.glob(OpenSsh.alias_of(name) + ".*"):
            path.unlink(missing_ok=True)

    async def _first(self, addresses: Sequence[Address], host_key: str | None, name: str) -> SshConnection:
        # an address that did not answer lately goes last: a blocked direct port must not cost a
        # full timeout at every reconnection
        now = self._clock.monotonic()
        order = sorted(addresses, key=lambda a: self._silent.get((name, a), -1e9) > now - 600)
        errors: list[RemoteError] = []
        for address in order:
            try:
                connection = await self._open_one(address, host_key, name)
            except HostKeyChanged:
                raise
            except RemoteError as error:
                errors.append(error)
                if isinstance(error, SshTimeout):
                    self._silent[name, address] = self._clock.monotonic()
            else:
                self._silent.pop((name, address), None)
                return connection
        raise max(errors, key=lambda error: max(i for i, t in enumerate(_TELLING) if isinstance(error, t)))

    async def _open_one(self, address: Address, host_key: str | None, name: str) -> SshConnection:
        own = address.kind == "own"
        pinned = _bare(host_key) if host_key is not None else None
        known = self._ssh_config.with_name("known_hosts") if own and self._ssh_config else None
        client = _Client(pinned, known, lambda: self._more_keys(address))
        options: dict[str, Any] = {
            "config": [str(self._ssh_config)] if own and self._ssh_config else None,
            "client_factory": lambda: client,
            "known_hosts": ([], [], [], [], [], [], []),
            "server_host_key_algs": list(_algorithms_for(pinned)),
            "client_keys": [str(self._key.private_path)],
            "agent_path": None,
            "preferred_auth": "publickey",
            "gss_host": None,
            "kex_algs": list(_KEX),
            "encryption_algs": list(_CIPHERS),
            "compression_algs": ["none"],
            "x509_trusted_certs": None,
            "keepalive_interval": self._keepalive,
            "keepalive_count_max": 3,
            "login_timeout": self._connect_timeout,
        }
        if address.user or not own:
            options["username"] = address.user or "root"
        try:
            async with asyncio.timeout(self._connect_timeout):
                raw = await asyncssh.connect(address.host, address.port or (), **options)
        except asyncssh.PermissionDenied as error:
            raise SshDenied(
                f"{address} does not accept choline's key (yet).",
                hint="Add choline's public key to ~/.ssh/authorized_keys there."
                if own
                else "A machine that just started may need some seconds to take the key.",
                public_key=self._key.public,
            ) from error
        except (TimeoutError, socket.gaierror) as error:
            raise _silent(address, error, self._connect_timeout) from error
        except asyncssh.HostKeyNotVerifiable as error:
            raise _changed(address, client.seen or "") from error
        except asyncssh.KeyExchangeFailed as error:
            raise RemoteError(
                f"{address} and choline have no way of encryption in common.",
                hint="Its SSH server is very old; use another image or update it.",
            ) from error
        except (asyncssh.ConnectionLost, ConnectionError) as error:
            raise SshRefused(
                f"Nothing answers SSH at {address} yet.",
                hint="A machine that is starting opens its port late; try again in some seconds.",
            ) from error
        except (asyncssh.Error, ValueError) as error:
            raise RemoteError(
                f"{address} did not speak proper SSH: {one_line(str(error))}.",
                hint="Something else may listen at that address.",
            ) from error
        except OSError as error:
            raise _silent(address, error, self._connect_timeout) from error
        finally:
            await client.release()
        presented = client.seen or ""
        openssh = OpenSsh(
            name=name,
            address=address,
            host_key=presented,
            private_path=self._key.private_path,
            directory=self._directory,
            ssh_config=self._ssh_config if own else None,
            use_agent=self._use_agent,
            connect_timeout=self._connect_timeout,
            keepalive=self._keepalive,
        )
        return SshConnection(raw, address, presented, openssh)

    async def _more_keys(self, address: Address) -> tuple[list[Any], Any]:
        """What to offer after choline's own key was refused: the agent's keys, and for own machines
        the files of ``~/.ssh``. With the agent to close afterwards."""
        keys: list[Any] = []
        agent = None
        path: str | None = os.environ.get("SSH_AUTH_SOCK") or None
        files: list[Any] = []
        if address.kind == "own":
            try:
                user = asyncssh.SSHClientConnectionOptions(
                    config=[str(self._ssh_config)] if self._ssh_config else None,
                    host=address.host,
                    known_hosts=None,
                    ignore_encrypted=True,
                )
                files = list(user.client_keys or [])
                path = user.agent_path or path
            except (asyncssh.Error, OSError, ValueError):
                files = []
        if self._use_agent and path:
            try:
                agent = await asyncssh.connect_agent(path)
                keys += await agent.get_keys()
            except (asyncssh.Error, OSError, ValueError):
                # an agent that is gone or does not answer is as good as none
                pass
        return keys + files, agent


class _Client(asyncssh.SSHClient):
    """Checks the host key while keys are exchanged, and offers further keys when ours was refused."""

    def __init__(
        self,
        pinned: str | None,
        known: Path | None,
        more_keys: Callable[[], Awaitable[tuple[list[Any], Any]]],
    ) -> None:
        self.seen: str | None = None
        self._pinned = pinned
        self._known = known
        """the user's own known_hosts, asked at first contact with an own machine"""
        self._more_keys = more_keys
        self._agent: Any = None
        self._asked = False

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.seen = _bare(key.export_public_key("openssh").decode("ascii", "replace"))
        if self._pinned is not None:
            return self.seen == self._pinned
        return self._known is None or not self._contradicts(self._known, host, addr, port, key)

    @staticmethod
    def _contradicts(known: Path, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        if not known.is_file():
            return False
        trusted, _, revoked, *_ = asyncssh.match_known_hosts(str(known), host, addr, port)
        same_kind = [other for other in trusted if other.algorithm == key.algorithm]
        return key in revoked or (bool(same_kind) and key not in same_kind)

    async def public_key_auth_requested(self) -> Any:
        if self._asked:
            return None
        self._asked = True
        keys, self._agent = await self._more_keys()
        return keys or None

    async def release(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()
            await agent.wait_closed()


def _bare(line: str) -> str:
    """Algorithm and key of an OpenSSH public key line, without its comment."""
    words = line.split()
    if len(words) < 2:
        raise RemoteError("The pinned host key is not an OpenSSH public key line.")
    return f"{words[0]} {words[1]}"


def _algorithms_for(pinned: str | None) -> Sequence[str]:
    if pinned is None:
        return _HOST_KEYS
    kind = pinned.split()[0]
    first = ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)
    if first[0] not in _HOST_KEYS:
        raise RemoteError(f"A host key of type {one_line(kind, 40)} cannot be used.")
    # the others too, so that a machine without a key of that type is seen to be another one
    return (*first, *(name for name in _HOST_KEYS if name not in first))


def _changed(address: Address, presented: str) -> HostKeyChanged:
    return HostKeyChanged(
        f"{address} presents another host key than the one pinned at first contact.",
        hint="Another machine answers at this address. Nothing was sent to it.",
        presented=presented,
    )


def _silent(address: Address, error: BaseException, seconds: float) -> SshTimeout:
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        words = f"within {seconds:g} s"
    else:
        words = "(" + one_line(getattr(error, "strerror", None) or str(error)) + ")"
    return SshTimeout(
        f"{address} does not answer {words}.",
        hint="The address may be wrong, or the host's network may block it.",
    )
