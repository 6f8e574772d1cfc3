"""The code of a run by ``git``, into its src, before home sends what is still missing.

The commit alone is fetched, without hooks, filters, submodules or anything of this machine's settings. What
of it has the digest that home names is moved into src, with the time that home has, so that home finds it
sent; nothing else goes there but ``.git``, where the project is the whole repository. A token reaches git
through a pipe that is read once: it stands in no command line, no file and no variable.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import stat
import subprocess
from typing import Dict, List, Set, Tuple
from urllib.parse import urlsplit

from choline_tui.kernel.clone import Clone, Cloned, CloneFile
from choline_tui.kernel.text import plain
from choline_tui.remote.paths import Paths

__all__ = ["clone"]

WITHIN_S = 600.0
CONNECT_S = 10.0
_CHUNK = 1 << 20
_PROXIES = ("https_proxy", "http_proxy", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
_USER = "x-access-token"
"""what GitHub's documentation has for a token; GitLab's and others take any name beside one"""


class _Cannot(Exception):
    pass


def clone(paths: Paths, run: str, request: Clone) -> Cloned:
    """Blocks for ``WITHIN_S`` at most. Whatever goes wrong is told, and nothing is left of it then."""
    src, scratch = paths.run(run, "src"), paths.run(run, ".clone")
    os.makedirs(src, exist_ok=True)
    held = os.open(paths.run(run), os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return Cloned(why="another clone of it is still on its way")
        if os.listdir(src):
            return Cloned()  # some of it was sent before: the rest is
        return _clone(src, scratch, request)
    except (_Cannot, OSError) as error:
        return Cloned(why=plain(str(error))[:300])
    finally:
        os.close(held)


def _clone(src: str, scratch: str, request: Clone) -> Cloned:
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        os.makedirs(scratch, mode=0o700)
        tree = os.path.join(scratch, "tree")
        _fetch(request, scratch, tree)
        ready = os.path.join(scratch, "src")
        count, size = _Taker(tree, request.prefix, ready).take(request.tree)
        if not request.prefix:
            os.rename(os.path.join(tree, ".git"), os.path.join(ready, ".git"))
        if os.listdir(src):
            return Cloned()  # home has begun to send it meanwhile
        for name in os.listdir(ready):
            os.rename(os.path.join(ready, name), os.path.join(src, name))
        return Cloned(count, size)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# ------------------------------------------------------------------------------------------- git


def _fetch(request: Clone, scratch: str, tree: str) -> None:
    if shutil.which("git") is None:
        raise _Cannot("git is not installed there")
    parts = urlsplit(request.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if not any(os.environ.get(name) for name in _PROXIES):
        # git itself would wait for minutes for a host that says nothing
        try:
            socket.create_connection((host, port), timeout=CONNECT_S).close()
        except OSError as error:
            raise _Cannot("%s cannot be reached from there: %s" % (host, error.strerror or error)) from None
    env = _environ(scratch, parts.scheme)
    _git(env, ["init", "--quiet", "--template=", tree])
    _git(env, ["-C", tree, "config", "remote.origin.url", request.url])
    words = ["-C", tree, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules"]
    _git(env, [*words, "origin", request.commit], request)
    _git(env, ["-C", tree, "checkout", "--quiet", "--force", "--detach", request.commit])


def _environ(scratch: str, scheme: str) -> Dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SSH_"))}
    return {
        **env,
        "HOME": scratch,  # nor .netrc
        "XDG_CONFIG_HOME": scratch,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": scheme,
        "GIT_LFS_SKIP_SMUDGE": "1",
    }


def _git(env: Dict[str, str], words: List[str], request: "Clone | None" = None) -> None:
    """``request``: for the command that talks to the server, which may want its token."""
    settings = ["gc.auto=0", "core.hooksPath=/dev/null", "core.symlinks=true", "core.fsmonitor=false"]
    settings += ["credential.helper=", "http.lowSpeedLimit=1000", "http.lowSpeedTime=30"]
    given: Tuple[int, ...] = ()
    if request is not None and request.token:
        parts = urlsplit(request.url)
        given = (_told_once(request.token),)
        # for this server alone: where a redirect leads elsewhere, it is not asked
        way = "<&%d" if given[0] < 10 else "</dev/fd/%d"  # not all shells take two digits
        helper = "!f() { cat " + way % given[0] + "; }; f"
        settings.append("credential.%s://%s.helper=%s" % (parts.scheme, parts.netloc, helper))
    command = ["git", *(word for each in settings for word in ("-c", each)), *words]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=env,
            pass_fds=given,
        )
    finally:
        for end in given:
            os.close(end)
    try:
        _, complaint = process.communicate(timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends what it has started
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
        raise _Cannot("it took longer than %d s" % WITHIN_S) from None
    if process.returncode:
        raise _Cannot(_words(complaint, request.token if request is not None else ""))


def _told_once(token: str) -> int:
    """The read end of a pipe that holds it."""
    read, write = os.pipe()
    try:
        os.write(write, ("username=%s\npassword=%s\n" % (_USER, token)).encode("ascii"))
    finally:
        os.close(write)
    return read


def _words(complaint: bytes, token: str) -> str:
    text = plain(complaint[-8192:])
    if token:
        text = text.replace(token, "****")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    words = told[-1].partition(": ")[2] or told[-1] if told else "it gave no reason"
    if "could not read Username" in words or "Authentication failed" in words:
        return "the server wants a token" if not token else "the server refuses the token"
    return "git: %s" % words[:200]


# ------------------------------------------------------------------------------------- what is kept


class _Taker:
    """Moves what is as home has it from ``prefix`` in ``tree`` to ``ready``."""

    def __init__(self, tree: str, prefix: str, ready: str) -> None:
        self._tree, self._ready = os.fsencode(tree), os.fsencode(ready)
        self._prefix = os.fsencode(prefix)
        self._plain: Dict[bytes, bool] = {b"": True}
        self._made: Set[bytes] = {b""}

    def take(self, files: Tuple[CloneFile, ...]) -> Tuple[int, int]:
        """How many, and their bytes."""
        os.makedirs(self._ready)
        count = size = 0
        for file in files:
            path = file.path.encode("utf-8", "surrogateescape")
            folder = os.path.dirname(path)
            source = os.path.join(self._tree, self._prefix + path)
            if not self._reached(os.path.dirname(self._prefix + path)) or not _same(source, file):
                continue
            if folder not in self._made:
                os.makedirs(os.path.join(self._ready, folder), exist_ok=True)
                self._made.add(folder)
            if not file.link:
                os.chmod(source, 0o755 if file.executable else 0o644)
                os.utime(source, ns=(file.mtime_ns, file.mtime_ns))
            os.rename(source, os.path.join(self._ready, path))
            count, size = count + 1, size + file.size
        return count, size

    def _reached(self, folder: bytes) -> bool:
        """Whether the way to it has no link, which could lead anywhere on this machine."""
        known = self._plain.get(folder)
        if known is None:
            try:
                mode = os.lstat(os.path.join(self._tree, folder)).st_mode
            except OSError:
                mode = 0
            known = stat.S_ISDIR(mode) and self._reached(os.path.dirname(folder))
            self._plain[folder] = known
        return known


def _same(source: bytes, file: CloneFile) -> bool:
    try:
        seen = os.lstat(source)
        if file.link:
            target = file.link.encode("utf-8", "surrogateescape")
            return stat.S_ISLNK(seen.st_mode) and os.readlink(source) == target
        if not stat.S_ISREG(seen.st_mode) or seen.st_size != file.size:
            return False
        sha = hashlib.sha256()
        with open(source, "rb") as content:
            while True:
                piece = content.read(_CHUNK)
                if not piece:
                    break
                sha.update(piece)
    except OSError:
        return False
    return sha.hexdigest() == file.digest
