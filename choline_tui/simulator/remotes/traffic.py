"""How many bytes a container's SSH has carried, counted by the kernel and told through a small open file.

The container's server writes both totals there, its owner reads them at any time; nobody has to be asked.
Only Linux counts (``TCP_INFO``, since 4.2); elsewhere nothing is counted. Ends of connections that were lost
with the container are missing, so it is a rough count, never one too high.
"""

import contextlib
import os
import socket
import struct
from pathlib import Path

__all__ = ["Meter", "carried", "make", "read"]

TCP_INFO = getattr(socket, "TCP_INFO", None)
_ACKED_AND_RECEIVED = 120
"""offset of tcpi_bytes_acked in the kernel's struct tcp_info; tcpi_bytes_received follows"""
_TOTALS = struct.Struct("<QQ")
MOST = 1 << 60
"""more than any machine carries: the file is within reach of what runs in the container"""


def carried(sock: socket.socket) -> tuple[int, int]:
    """Bytes that a TCP connection has sent (and the other side has) and received so far."""
    if TCP_INFO is None:
        return 0, 0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
        sent, received = _TOTALS.unpack_from(told, _ACKED_AND_RECEIVED)
    except (OSError, struct.error):
        return 0, 0
    # the kernel counts the opening handshake as a byte sent
    return max(0, sent - 1), received


def make(file: Path, totals: tuple[int, int]) -> int:
    """An open file that begins with these totals; its descriptor, for the caller to close."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.pwrite(fd, _TOTALS.pack(*totals), 0)
    return fd


def read(fd: int) -> tuple[int, int]:
    """Totals (sent, received) as the container told them last."""
    try:
        sent, received = _TOTALS.unpack(os.pread(fd, _TOTALS.size, 0))
    except (OSError, struct.error):
        return 0, 0
    return min(sent, MOST), min(received, MOST)


class Meter:
    """Adds up connections. ``fd``: the open file; what it holds already is counted on from there."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ended = read(fd)
        self._open: dict[int, socket.socket] = {}

    def begin(self, sock: socket.socket) -> int:
        """Count a connection; a number to end it with. The socket must stay open until then."""
        number = max(self._open, default=0) + 1
        self._open[number] = sock
        return number

    def end(self, number: int) -> None:
        sock = self._open.pop(number, None)
        if sock is not None:
            sent, received = carried(sock)
            self._ended = (self._ended[0] + sent, self._ended[1] + received)
            self.tell()

    def tell(self) -> None:
        """Write the totals of now."""
        now = [carried(sock) for sock in self._open.values()]
        sent = self._ended[0] + sum(n[0] for n in now)
        received = self._ended[1] + sum(n[1] for n in now)
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, _TOTALS.pack(min(sent, MOST), min(received, MOST)), 0)
