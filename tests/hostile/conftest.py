"""The real server, key and connections of tests/ssh."""

from tests.ssh.conftest import conn, key, plain_sshd, pool, sshd

__all__ = ["conn", "key", "plain_sshd", "pool", "sshd"]
