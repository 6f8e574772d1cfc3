"""A frozen copy on disk: its manifest, the tree made from it, and clearing away what no run needs."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from choline_tui.codestate.objects import Objects
from choline_tui.kernel.errors import StoreError
from choline_tui.model.code import CodeFile, CodeManifest, CodeState

__all__ = ["MANIFEST", "build", "line_of", "manifest", "materialise", "sweep", "write_manifest"]

MANIFEST = "manifest.json"


def line_of(file: CodeFile) -> bytes:
    """A file as the manifest has it."""
    return file.model_dump_json().encode()


def write_manifest(into: Path, lines: Iterable[bytes]) -> str:
    """Replace the manifest in ``into`` at once, by the files' lines; its SHA-256. ``OSError`` when it cannot
    be written."""
    raw = b'{"version":1,"files":[' + b",".join(lines) + b"]}"
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = into / f".{MANIFEST}.{secrets.token_hex(8)}"  # another thread may be writing one as well
    try:
        with temporary.open("wb") as out:
            out.write(raw)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(into / MANIFEST)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return hashlib.sha256(raw).hexdigest()


def manifest(state: CodeState) -> CodeManifest:
    """All files of a frozen copy. ``StoreError`` when the manifest is gone, or not the one of ``state``."""
    path = Path(state.frozen_dir) / MANIFEST
    try:
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != state.digest:
            # the next capture must not hand it out again
            with contextlib.suppress(OSError):
                Objects(state.objects_dir).doubt()
            raise ValueError("it is not what it was")
        return CodeManifest.model_validate_json(raw)
    except (OSError, ValueError, ValidationError) as error:
        raise _damaged(f"{path}: {_reason(error)}") from None


def materialise(state: CodeState, dest: Path, *, verify: bool = True) -> Path:
    """Make ``dest`` the frozen tree, to send from; returns it. What was there is replaced, at once: a
    ``dest`` that exists is whole. Files are hard links into the store where that can be: read only, never
    write in ``dest``. ``verify``: every content is compared with its digest.

    Blocks. ``StoreError`` when the copy is damaged or the tree cannot be made.
    """
    files = manifest(state).files
    store = Objects(state.objects_dir)
    part = dest.with_name(f".{dest.name}.part")
    try:
        dest.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove(part)
        part.mkdir(mode=0o700)
        build(os.fsencode(part), files, store, verify=verify)
        _remove(dest)
        part.rename(dest)
    except OSError as error:
        raise StoreError(
            f"cannot lay out the code in {dest}: {error.strerror or error}",
            hint="Make room on that disk, or correct its permissions; then try again.",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            _remove(part)
    return dest


def build(top: bytes, files: Iterable[CodeFile], store: Objects, *, verify: bool, link: bool = True) -> None:
    """Lay ``files`` out in the directory ``top``; ``link``: as hard links into the store where that can be,
    else as copies that are dated now. ``StoreError`` for a content that is lost, ``OSError`` for the disk.
    """
    made: set[bytes] = {b""}
    sound: set[tuple[str, bool]] = set()
    for file in files:
        # our own file, yet a name that leaves the tree would make us write anywhere
        if file.path.startswith(b"/") or not file.path or b".." in file.path.split(b"/"):
            raise _damaged(f"it names {os.fsdecode(file.path)!r}")
        folder = os.path.dirname(file.path)
        if folder not in made:
            os.makedirs(os.path.join(top, folder), exist_ok=True)
            made.add(folder)
        target = os.path.join(top, file.path)
        if file.link is not None:
            os.symlink(file.link, target)
            continue
        executable = bool(file.mode & 0o100)
        if verify and (file.digest, executable) not in sound:
            if not store.sound(file.digest, executable, file.size):
                raise _damaged(f"the content of {os.fsdecode(file.path)!r} is lost")
            sound.add((file.digest, executable))
        source = store.path(file.digest, executable)
        if not link:
            try:
                shutil.copyfile(source, os.fsdecode(target))
            except FileNotFoundError:
                raise _damaged(f"the content of {os.fsdecode(file.path)!r} is lost") from None
            os.chmod(target, 0o755 if executable else 0o644)
            continue
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise _damaged(f"the content of {os.fsdecode(file.path)!r} is lost") from None
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
                raise
            shutil.copy2(source, os.fsdecode(target))


def sweep(objects: Path, keep: Iterable[CodeState], *, older_than: float) -> int:
    """Remove contents that no state in ``keep`` needs; bytes freed. What was made after ``older_than``
    (epoch s) stays. Never beside a capture: it may rely on an old content. ``StoreError`` when a manifest
    in ``keep`` cannot be read: then nothing is removed."""
    store = Objects(str(objects))
    needed = {
        store.path(file.digest, bool(file.mode & 0o100))
        for state in keep
        for file in manifest(state).files
        if file.link is None
    }
    freed, doubted = 0, False
    for folder, _, names in os.walk(objects):
        for name in names:
            path = os.path.join(folder, name)
            if path in needed:
                continue
            with contextlib.suppress(FileNotFoundError):
                seen = os.lstat(path)
                if seen.st_ctime < older_than:
                    if not doubted:
                        store.doubt()
                        doubted = True
                    os.unlink(path)
                    freed += seen.st_size
    return freed


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return "it is not a manifest" if isinstance(error, ValidationError) else str(error)


def _damaged(what: str) -> StoreError:
    return StoreError(
        f"the frozen copy of the code is damaged: {what}",
        hint="Start the run again: the code is then frozen anew from the project.",
    )
