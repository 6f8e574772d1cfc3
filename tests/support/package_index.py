"""A package index on loopback with real small wheels, written here: what PyPI is to uv and pip."""

import base64
import hashlib
import html
import io
import threading
import zipfile
from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["PackageIndex", "wheel"]


def wheel(
    name: str,
    version: str,
    *,
    modules: Mapping[str, str] | None = None,
    requires: tuple[str, ...] = (),
    scripts: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:
    """(file name, content). ``modules``: path to source; ``scripts``: programs of its own, as they are."""
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = dict(modules if modules is not None else {f"{plain}.py": f"__version__ = {version!r}\n"})
    files |= {f"{plain}-{version}.data/scripts/{path}": text for path, text in (scripts or {}).items()}
    files[f"{info}/METADATA"] = metadata
    files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n"
    record = []
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            data = text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{path},sha256={digest},{len(data)}\n")
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            archive.writestr(entry, data)
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join([*record, f"{info}/RECORD,,\n"]))
    return f"{plain}-{version}-{tag}.whl", whole.getvalue()


class _Quiet(SimpleHTTPRequestHandler):
    def __init__(self, index: "PackageIndex", *args: Any, **more: Any) -> None:
        self.index = index
        super().__init__(*args, **more)

    def log_message(self, format: str, *args: Any) -> None:
        self.index.asked.append(self.path)


class PackageIndex:
    """The simple API, with a page for each package; ``asked``: the paths of all requests so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "simple").mkdir(parents=True)
        (root / "files").mkdir()
        self.asked: list[str] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def add(self, name: str, version: str, **more: Any) -> None:
        file, data = wheel(name, version, **more)
        self.add_file(name, file, data)

    def add_file(self, name: str, file: str, data: bytes) -> None:
        """``file`` as it is: a wheel or a source distribution, a broken one too."""
        (self.root / "files" / file).write_bytes(data)
        page = self.root / "simple" / name / "index.html"
        page.parent.mkdir(exist_ok=True)
        digest = hashlib.sha256(data).hexdigest()
        before = page.read_text() if page.exists() else "<!DOCTYPE html><title>files</title>\n"
        link = f'<a href="../../files/{html.escape(file)}#sha256={digest}">{html.escape(file)}</a>\n'
        page.write_text(before + link)

    def start(self) -> "PackageIndex":
        handler = partial(_Quiet, self, directory=str(self.root))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    @property
    def host(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.host}/simple"

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None
