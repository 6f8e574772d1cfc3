"""Templates by name, from a file, or from an https address: read and checked, never carried out."""

import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from choline_tui.config.paths import Paths
from choline_tui.config.project import PROJECT_FILE
from choline_tui.config.templates import (
    MAX_TEMPLATE,
    Template,
    find_template,
    read_template,
    read_templates,
    remove_template,
    save_template,
)
from choline_tui.config.write import read_raw
from choline_tui.kernel.errors import NotFound, ProjectError, SystemFault, UsageError

__all__ = ["fetch", "keep", "named_templates", "remove_template", "resolve", "template_text"]

SECONDS = 20.0
"""for each step of a fetch: a server that is silent this long is given up"""

Fetch = Callable[[str], str]


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    max_redirections = 4

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("it leads on to an address that is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str) -> str:
    """The text at an https address, ``MAX_TEMPLATE`` at most; blocks for ``SECONDS`` a step at most.

    Certificates are checked as the system says (or SSL_CERT_FILE); a proxy of the environment is used.
    Raises UsageError for an address that is none, SystemFault when it cannot be had.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or not url.isprintable() or any(c.isspace() for c in url):
        raise UsageError(f"{url[:200]!r} is not a web address")
    if parts.scheme != "https":
        raise UsageError("a template comes by https only", hint="Give its https:// address, or a file.")
    if parts.username or parts.password:
        raise UsageError("the address holds a name or password", hint="Fetch the file yourself, and give it.")
    opener = urllib.request.build_opener(_OnlyHttps)
    asked = urllib.request.Request(url, headers={"User-Agent": "choline", "Accept": "text/plain, */*"})  # noqa: S310
    try:
        with opener.open(asked, timeout=SECONDS) as answer:
            raw: bytes = answer.read(MAX_TEMPLATE + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise SystemFault(f"{host} answered {error.code}", hint="Correct the address.") from None
    except (OSError, ValueError) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise SystemFault(f"cannot fetch from {host}: {reason}"[:300]) from None
    if len(raw) > MAX_TEMPLATE:
        raise ProjectError(f"what {host} gives is larger than a template can be ({MAX_TEMPLATE >> 10} KiB)")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ProjectError(f"what {host} gives is not text") from None


def resolve(word: str, environ: Mapping[str, str], get: Fetch = fetch) -> tuple[Template, bool]:
    """(the template that ``word`` names, whether it is foreign: not one of this home's own).

    An address, else a saved template, else a file or a project's directory. Raises NotFound, ProjectError,
    UsageError, SystemFault, ConfigError.
    """
    if "://" in word:
        name = urlsplit(word).path.rpartition("/")[2] or "the page"
        try:
            return read_template(name, get(word)), True
        except ProjectError as error:
            hint = error.hint or "Give the address of the file itself, not of a page that shows it."
            raise ProjectError(error.message, hint=hint) from None
    path = Path(word).expanduser()
    if "/" in word or word.endswith(".toml") or word in (".", ".."):
        file = path / PROJECT_FILE if path.is_dir() else path
        try:
            with file.open("rb") as opened:
                text = opened.read(MAX_TEMPLATE + 1).decode("utf-8")
        except FileNotFoundError:
            raise NotFound(f"there is no file {file}", hint="Correct the path.") from None
        except OSError as fault:
            raise ProjectError(f"cannot read {file}: {fault.strerror or fault}") from None
        except UnicodeDecodeError:
            raise ProjectError(f"{file} is not UTF-8 text") from None
        return read_template(file.name, text), True
    return find_template(Paths(environ=environ), word), False


def named_templates(environ: Mapping[str, str]) -> list[Template]:
    """Those of this home, by name. Raises ConfigError."""
    return read_templates(Paths(environ=environ))


def keep(name: str, source: Path | Mapping[str, Any], environ: Mapping[str, str]) -> Template:
    """Save a template of a project (its directory, or its data). Raises ProjectError, ConfigError."""
    if isinstance(source, Path):
        raw = read_raw(source)
        if raw is None:
            raise ProjectError(f"there is no {PROJECT_FILE} in {source}", hint="'choline init' writes one.")
        source = raw[1]
    return save_template(Paths(environ=environ), name, source)


def template_text(template: Template) -> str:
    """As TOML."""
    import tomli_w

    return tomli_w.dumps(dict(template.values))
