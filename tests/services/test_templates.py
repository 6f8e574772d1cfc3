"""Templates: what they hold, where they come from, and what an address may not do."""

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from choline_tui.config.templates import MAX_TEMPLATE
from choline_tui.kernel.errors import (
    CholineError,
    ConfigError,
    NotFound,
    ProjectError,
    SystemFault,
    UsageError,
)
from choline_tui.services.templates import (
    fetch,
    keep,
    named_templates,
    remove_template,
    resolve,
    template_text,
)

FILE = """\
name = "tiny"
command = "python train.py"
gpu = "2x4090"
send = ["data"]
exclude = ["*.ckpt"]
secrets = ["WANDB_API_KEY"]
[env]
SEED = "7"
[run]
max_life = "2h"
"""
KEPT = {
    "command": "python train.py",
    "gpu": "2x4090",
    "exclude": ["*.ckpt"],
    "secrets": ["WANDB_API_KEY"],
    "run": {"max_life": "2h"},
}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"CHOLINE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": str(tmp_path)}


def project(tmp_path: Path, text: str = FILE) -> Path:
    top = tmp_path / "project"
    top.mkdir(exist_ok=True)
    (top / "choline.toml").write_text(text)
    return top


def test_what_is_kept_and_what_is_not(tmp_path: Path, environ: dict[str, str]) -> None:
    top = project(tmp_path)
    made = keep("llm", top, environ)
    assert dict(made.values) == KEPT and made.left == ("name", "send", "env")
    found, foreign = resolve("llm", environ)
    assert dict(found.values) == KEPT and not foreign
    assert found.flat()["run.max_life"] == "2h"
    assert "SEED" not in template_text(found)
    file = tmp_path / "home" / "templates" / "llm.toml"
    assert file.stat().st_mode & 0o077 == 0
    # replaced, listed with one that is broken, and forgotten
    keep("llm", {"gpu": "1x3090"}, environ)
    file.with_name("old.toml").write_text("gpus = 3\n")
    assert [(t.name, bool(t.wrong)) for t in named_templates(environ)] == [("llm", False), ("old", True)]
    from choline_tui.config.paths import Paths

    for name in ("llm", "old"):
        remove_template(Paths(environ=environ), name)
    assert named_templates(environ) == []
    with pytest.raises(NotFound):
        remove_template(Paths(environ=environ), "llm")


def test_from_a_file_or_a_directory(tmp_path: Path, environ: dict[str, str]) -> None:
    top = project(tmp_path)
    for word in (str(top), str(top / "choline.toml")):
        found, foreign = resolve(word, environ)
        assert dict(found.values) == KEPT and foreign


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpu = ", "is not TOML"),
        ("gpus = 3", "there is no setting 'gpus'"),
        ("max_price = -1", "max_price"),
        ('name = "x"', "says nothing"),
        ("#" * (MAX_TEMPLATE + 1), "larger than a template"),
        ('setup = "export HF=hf_abcdefghijklmnopqrstuvwx"', "looks like a Hugging Face token"),
        ("\xff", "is not UTF-8"),
    ],
)
def test_what_is_none(text: str, why: str, tmp_path: Path, environ: dict[str, str]) -> None:
    file = tmp_path / "t.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ProjectError, match=why) as caught:
        resolve(str(file), environ)
    assert "hf_abc" not in caught.value.message


def test_names_and_addresses_that_are_none(tmp_path: Path, environ: dict[str, str]) -> None:
    top = project(tmp_path)
    for name in ("", "../x", "a b", ".hidden", "x" * 61):
        with pytest.raises(ConfigError, match="cannot be a template's name"):
            keep(name, top, environ)
    keep("llm-4090", top, environ)
    with pytest.raises(NotFound) as missing:
        resolve("llm-409", environ)
    assert "llm-4090" in missing.value.hint
    with pytest.raises(NotFound, match="no file"):
        resolve("./nowhere.toml", environ)
    for url in (
        "http://example.org/x",
        "ftp://example.org/x",
        "https://",
        "https://a b/",
        "file:///etc/passwd",
    ):
        with pytest.raises(UsageError):
            resolve(url, environ)
    with pytest.raises(UsageError, match="name or password"):
        fetch("https://user:secret@example.org/x")


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/x")
            self.end_headers()
            return
        body = {"/choline.toml": FILE.encode(), "/large": b"#" * (MAX_TEMPLATE + 1), "/page": b"<html>"}
        found = body.get(self.path)
        self.send_response(200 if found is not None else 404)
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, file with its certificate) of a real https server on loopback."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("https")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate = folder / "cert.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{httpd.server_port}", certificate
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_by_https_from_a_real_server(
    server: tuple[str, Path], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, certificate = server
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemFault, match="cannot fetch from 127"):
        fetch(f"{address}/choline.toml")  # a certificate that nobody vouches for
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    found, foreign = resolve(f"{address}/choline.toml", environ)
    assert dict(found.values) == KEPT and foreign and found.left == ("name", "send", "env")
    wrong: dict[str, tuple[type[CholineError], str]] = {
        "/gone": (SystemFault, "answered 404"),
        "/away": (SystemFault, "not https"),
        "/large": (ProjectError, "larger than"),
        "/page": (ProjectError, "is not TOML"),
    }
    for path, (kind, why) in wrong.items():
        with pytest.raises(kind, match=why):
            resolve(address + path, environ)
