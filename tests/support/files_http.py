"""A server of files on loopback that knows ranges, and can be told to misbehave."""

import contextlib
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

__all__ = ["Files"]


class Files:
    """``content`` by path. ``asked``: (method, path, headers in lower case) of every request."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        """by path: after how many bytes of the body the next answers break off"""
        self.status: dict[str, list[int]] = {}
        """by path: what the next requests are answered instead"""
        self.redirect: dict[str, str] = {}
        self.token = ""
        self.tags = True
        self.fickle = False
        """whether the same bytes have another tag each time"""
        self.head = True
        self.length = True
        self.stall: dict[str, int] = {}
        """by path: after how many bytes the server stands still until ``go_on``"""
        self.go_on = threading.Event()
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def gets(self, path: str) -> list[str]:
        """The ranges that were asked for, '' for all of it."""
        return [h.get("range", "") for method, p, h in self.asked if (method, p) == ("GET", path)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        files = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _plain(self, status: int, **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _answer(self, *, body: bool) -> None:
                path = unquote(self.path.partition("?")[0])
                given = {name.lower(): value for name, value in self.headers.items()}
                files.asked.append((self.command, path, given))
                if path in files.redirect:
                    return self._plain(302, Location=files.redirect[path])
                if files.status.get(path):
                    return self._plain(files.status[path].pop(0))
                if not body and not files.head:
                    return self._plain(405)
                if files.token and given.get("authorization") != f"Bearer {files.token}":
                    return self._plain(401)
                if path not in files.content:
                    return self._plain(404)
                data = files.content[path]
                tag = f'"{hashlib.sha256(data).hexdigest()[:16]}{len(files.asked) * files.fickle}"'
                start, status = 0, 200
                if given.get("range", "").startswith("bytes=") and given.get("if-range", tag) == tag:
                    start, status = int(given["range"][6:].partition("-")[0]), 206
                    if start >= len(data):
                        return self._plain(416)
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                if files.tags:
                    self.send_header("ETag", tag)
                if files.length:
                    self.send_header("Content-Length", str(len(data) - start))
                else:
                    self.send_header("Connection", "close")
                self.end_headers()
                if body:
                    piece = data[start:]
                    if files.cut.get(path):
                        piece = piece[: files.cut[path].pop(0)]
                        self.close_connection = True
                    if path in files.stall:
                        self.wfile.write(piece[: files.stall[path]])
                        files.go_on.wait(60)
                        piece = piece[files.stall[path] :]
                    with contextlib.suppress(ConnectionError):
                        self.wfile.write(piece)
                if not files.length:
                    self.close_connection = True
                return None

        return Handler
