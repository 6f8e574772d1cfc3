"""A job's own terminal: a pseudo-terminal its command runs on, and the socket where people attach to it.

It belongs to the job's shim, so it outlives whoever looks at it, the SSH connection and the supervisor.
Spoken at the socket (``jobs/<job>/tty``), from the one who attaches: messages of one letter, a length
(4 bytes, big-endian) and content: ``d`` what was typed, ``r`` rows and columns (2 bytes each). Other
letters are passed over, so that later versions may say more. Back comes what the command writes, as it is.
"""

import errno
import fcntl
import os
import re
import signal
import socket
import struct
import termios
import time
from typing import Callable, Dict, List, Optional, Tuple

__all__ = ["HEAD", "RESIZE", "SOCKET", "TYPED", "Terminal", "connect", "message"]

SOCKET = "tty"
HEAD = struct.Struct("!cI")
SIZE = struct.Struct("!HH")
TYPED, RESIZE = b"d", b"r"
MAX_MESSAGE = 1 << 16
MAX_CLIENTS = 16
BACKLOG = 1 << 15
"""Bytes of what was written last, given to someone who attaches."""
MAX_UNSENT = 1 << 20
MAX_TYPED = 1 << 16
START_SIZE = (24, 80)
HUNG_S = 0.2
"""How long a terminal that nobody holds open is left alone: one that closed it may open it again."""
DRAIN_S = 2.0

# what makes a terminal answer as if somebody had typed: status and attribute requests, mode requests,
# window reports, colour and clipboard requests. Replayed, they would be answered a second time.
_ASKING = re.compile(
    rb"\x1b\[[>=?]?[0-9;]*[cnxt]|\x1b\[\??[0-9;]*\$p|\x1b\[>[0-9;]*q|\x1b\[\?u"
    rb"|\x1b\][0-9;]{0,40};[^\x07\x1b]*\?(?:\x07|\x1b\\)|\x1bP[$+][^\x1b]*\x1b\\|\x05|\x1bZ"
)
_MODE = re.compile(rb"\x1b\[\?([0-9;]{1,40})([hl])")
MODES = {1: False, 7: True, 25: True, 1000: False, 1002: False, 1003: False, 1004: False, 1006: False,
         1049: False, 2004: False}  # fmt: skip
"""What a full-screen program switches, with what a terminal begins with: keys, wrapping, cursor, mouse,
focus, other screen, paste (xterm's ctlseqs, DECSET)."""
MODE_LENGTH = 48
_LINE_END = re.compile(rb"(?<!\r)\r+\n")  # tried once for a row of returns, not from each
MAX_RETURNS = 1 << 10
SKIPPED = b"\x18\x1b[0m\r\n[choline: output left out, it came faster than it could be shown]\r\n"


def message(kind: bytes, data: bytes) -> bytes:
    return HEAD.pack(kind, len(data)) + data


def resize(rows: int, columns: int) -> bytes:
    return message(RESIZE, SIZE.pack(max(1, min(rows, 1000)), max(1, min(columns, 1000))))


def _at(path: str, do: Callable[[str], None]) -> None:
    """Call ``do`` with a name so short that a socket may have it (``sun_path`` holds 104 bytes, unix(7))."""
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(os.path.dirname(path))
        do("./" + os.path.basename(path))
    finally:
        os.fchdir(here)
        os.close(here)


def connect(path: str) -> socket.socket:
    """Raises ``OSError`` when nobody keeps a terminal there."""
    found = socket.socket(socket.AF_UNIX)
    try:
        _at(path, found.connect)
    except OSError:
        found.close()
        raise
    return found


class _Client:
    """Somebody who is attached. ``size`` is None until they said it: then they are given the backlog."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self.line = line
        self.size: Optional[Tuple[int, int]] = None
        self.unsent = bytearray()
        self.unread = bytearray()

    def queue(self, data: bytes) -> None:
        if len(self.unsent) > MAX_UNSENT:
            # a slow line must hold up nobody, and what is seen must not be minutes old
            del self.unsent[:]
            self.unsent += SKIPPED
        self.unsent += data

    def send(self) -> bool:
        """False: they are gone."""
        try:
            while self.unsent:
                del self.unsent[: self.line.send(self.unsent[: 1 << 16])]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def receive(self) -> Optional[List[Tuple[bytes, bytes]]]:
        """Whole messages; None: they are gone, or speak something else."""
        try:
            data = self.line.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.unread += data
        found = []
        while len(self.unread) >= HEAD.size:
            kind, length = HEAD.unpack_from(self.unread)
            if length > MAX_MESSAGE:
                return None
            end = HEAD.size + length
            if len(self.unread) < end:
                break
            found.append((kind, bytes(self.unread[HEAD.size : end])))
            del self.unread[:end]
        return found


class Terminal:
    """``keep`` is given what the command writes, lines ended by a newline alone, for the log.

    ``slave`` is for the command; close it once the command has it. Raises ``OSError`` when this machine
    has no pseudo-terminals. Someone who attaches is shown the last of what was written; full-screen
    programs are told to draw themselves anew. Its size is that of the smallest window attached.
    """

    def __init__(self, path: str, keep: Callable[[bytes], None]) -> None:
        self._path = path
        self._keep = keep
        self._master, self.slave = os.openpty()
        try:
            self._name = os.ttyname(self.slave)  # there is none where /dev/pts is another system's
        except OSError:
            os.close(self._master)
            os.close(self.slave)
            raise
        os.set_blocking(self._master, False)
        self._size = (0, 0)
        self._resize(START_SIZE)
        self._clients: Dict[int, _Client] = {}
        self._backlog = bytearray()
        self._modes: Dict[int, bool] = {}
        self._cut = b""
        self._typed = bytearray()
        self._returns = b""
        self._hung = 0.0
        self.trouble = ""
        """why nobody can attach; '' when they can"""
        self._server: Optional[socket.socket] = None
        server = socket.socket(socket.AF_UNIX)
        old = os.umask(0o077)
        try:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            _at(path, server.bind)
            server.listen(MAX_CLIENTS)
            server.setblocking(False)
            self._server = server
        except OSError as e:
            server.close()
            self.trouble = str(e)
        finally:
            os.umask(old)

    def arguments(self, command: List[str]) -> List[str]:
        """``command``, run by one who has this as its controlling terminal.

        A session's leader that opens a terminal gets it as its own (tty(4)); a shell can do that after
        the fork without any Python running between fork and exec, beside our other threads.
        """
        opens = 'exec "$@" 0<>"$0" 1>&0 2>&0'
        return ["/bin/sh", "-c", opens, self._name, *command]

    # for select

    def reading(self) -> List[int]:
        found = list(self._clients)
        if time.monotonic() >= self._hung:
            found.append(self._master)
        if self._server is not None:
            found.append(self._server.fileno())
        return found

    def writing(self) -> List[int]:
        found = [fd for fd, client in self._clients.items() if client.unsent]
        return [*found, self._master] if self._typed else found

    def serve(self, readable: List[int], writable: List[int]) -> None:
        """Carry what is there, both ways."""
        if self._server is not None and self._server.fileno() in readable:
            self._accept()
        for fd in [fd for fd in readable if fd in self._clients]:
            self._hear(fd)
        if self._typed and (self._master in writable or self._master in readable):
            self._type()
        if self._master in readable:
            self._read()
        for fd in [fd for fd, client in self._clients.items() if client.unsent]:
            if not self._clients[fd].send():
                self._drop(fd)

    def finish(self) -> None:
        """The command is over: all it wrote is kept and shown, and the terminal is gone."""
        until = time.monotonic() + DRAIN_S
        while time.monotonic() < until and self._read():
            pass
        if self._returns:
            self._keep(self._returns)
        for fd in list(self._clients):
            self._clients[fd].send()
            self._drop(fd, last=True)
        if self._server is not None:
            self._server.close()
            self._server = None
            try:
                os.unlink(self._path)
            except OSError:
                pass
        os.close(self._master)

    # the command's side

    def _read(self) -> bool:
        """False when nothing is there and nothing will come as long as nobody holds the other end."""
        try:
            data = os.read(self._master, 1 << 16)
        except BlockingIOError:
            return False
        except OSError as e:
            if e.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._hung = time.monotonic() + HUNG_S
            return False
        self._keep_lines(data)
        self._note_modes(data)
        self._backlog += data
        if len(self._backlog) > 2 * BACKLOG:
            del self._backlog[:-BACKLOG]
        for client in self._clients.values():
            if client.size is not None:
                client.queue(data)
        return True

    def _keep_lines(self, data: bytes) -> None:
        """A terminal ends lines with return and newline; a log, as without one, with a newline."""
        data = self._returns + data
        text = data.rstrip(b"\r") if len(self._returns) < MAX_RETURNS else data
        self._returns = data[len(text) :]
        if text:
            # a program that writes both itself gets another return from the terminal
            self._keep(_LINE_END.sub(b"\n", text))

    def _note_modes(self, data: bytes) -> None:
        """Remember what was switched: someone who attaches hours later needs it, and a program that draws
        itself anew does not switch it again."""
        data = self._cut + data
        end = 0
        for found in _MODE.finditer(data):
            end = found.end()
            for number in found.group(1).split(b";"):
                mode = int(number or b"0")
                if mode in MODES:
                    self._modes[mode] = found.group(2) == b"h"
        begun = data.rfind(b"\x1b", max(end, len(data) - MODE_LENGTH))
        self._cut = data[begun:] if begun >= 0 else b""

    def _type(self) -> None:
        try:
            while self._typed:
                del self._typed[: os.write(self._master, self._typed[:4096])]
        except BlockingIOError:
            return
        except OSError:
            del self._typed[:]

    def _resize(self, size: Tuple[int, int]) -> None:
        """The kernel tells the command's foreground group (SIGWINCH) when the size is another one."""
        if size != self._size:
            self._size = size
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def _redraw(self) -> None:
        try:
            group = os.tcgetpgrp(self._master)
            if group > 1:
                os.killpg(group, signal.SIGWINCH)
        except (OSError, AttributeError):
            pass

    # those who are attached

    def _accept(self) -> None:
        assert self._server is not None
        try:
            line, _ = self._server.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS:
            line.close()
            return
        self._clients[line.fileno()] = _Client(line)

    def _hear(self, fd: int) -> None:
        client = self._clients[fd]
        messages = client.receive()
        if messages is None:
            self._drop(fd)
            return
        for kind, data in messages:
            if kind == TYPED and client.size is not None:
                # what does not fit is lost: a command that reads nothing must not fill our memory
                self._typed += data[: max(0, MAX_TYPED - len(self._typed))]
            elif kind == RESIZE and len(data) == SIZE.size:
                rows, columns = SIZE.unpack(data)
                if 0 < rows <= 1000 and 0 < columns <= 1000:
                    self._sized(client, (rows, columns))

    def _sized(self, client: _Client, size: Tuple[int, int]) -> None:
        first = client.size is None
        client.size = size
        if first:
            client.queue(self._recent())
        before = self._size
        self._fit()
        if first and self._size == before:
            self._redraw()

    def _recent(self) -> bytes:
        recent = bytes(self._backlog[-BACKLOG:])
        if len(self._backlog) > len(recent):
            recent = recent[recent.find(b"\n") + 1 :]
        switched = [(mode, on) for mode, on in sorted(self._modes.items()) if on != MODES[mode]]
        modes = b"".join(b"\x1b[?%d%s" % (mode, b"h" if on else b"l") for mode, on in switched)
        return modes + _ASKING.sub(b"", recent)

    def _fit(self) -> None:
        sizes = [client.size for client in self._clients.values() if client.size is not None]
        if sizes:
            self._resize((min(size[0] for size in sizes), min(size[1] for size in sizes)))

    def _drop(self, fd: int, *, last: bool = False) -> None:
        client = self._clients.pop(fd)
        client.line.close()
        if not last:
            self._fit()
