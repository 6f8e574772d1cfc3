"""Real git repositories served on loopback by git's own http-backend; one may ask for a token."""

import base64
import contextlib
import gzip
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import needs

__all__ = ["GitServer"]


class GitServer:
    """Serves the bare repositories in ``root``. ``token``: the password that is asked for, '' for none.
    ``asked``: path and password ('' without one) of every request."""

    def __init__(self, root: Path, token: str = "") -> None:
        needs("git")
        self.root, self.token = root, token
        self.asked: list[tuple[str, str]] = []
        root.mkdir(parents=True, exist_ok=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "GitServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, repository: Path, name: str = "x.git") -> str:
        """Make a bare copy of it, the remote ``origin`` of ``repository``; its address."""
        words = ["git", "clone", "-q", "--bare", str(repository), str(self.root / name)]
        subprocess.run(words, check=True, capture_output=True)
        address = f"{self.url}/{name}"
        words = ["git", "-C", str(repository), "remote", "add", "origin", address]
        subprocess.run(words, check=True, capture_output=True)
        return address

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self.serve(b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.serve(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)

            def serve(self, body: bytes) -> None:
                path, _, query = self.path.partition("?")
                kind, _, given = (self.headers.get("Authorization") or "").partition(" ")
                password = base64.b64decode(given).decode().partition(":")[2] if kind == "Basic" else ""
                server.asked.append((path, password))
                if server.token and password != server.token:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="git"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                answer = subprocess.run(
                    ["git", "http-backend"],
                    input=body,
                    capture_output=True,
                    check=False,
                    env={
                        "PATH": os.environ["PATH"],
                        "GIT_PROJECT_ROOT": str(server.root),
                        "GIT_HTTP_EXPORT_ALL": "1",
                        "REQUEST_METHOD": self.command,
                        "PATH_INFO": path,
                        "QUERY_STRING": query,
                        "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                        "CONTENT_LENGTH": str(len(body)),
                        "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                    },
                ).stdout
                head, _, content = answer.partition(b"\r\n\r\n")
                lines = [line.partition(": ") for line in head.decode().split("\r\n")]
                status = next((value for name, _, value in lines if name == "Status"), "200")
                self.send_response(int(status.split()[0]))
                for name, _, value in lines:
                    if name != "Status":
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(content)

        return Handler
