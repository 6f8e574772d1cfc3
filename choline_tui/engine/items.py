"""What of a run is sent: the frozen copy of its code, and the data its project names."""

import os
import threading
from dataclasses import replace
from pathlib import Path

from choline_tui.codestate import manifest, materialise
from choline_tui.kernel.clone import Clone, CloneFile
from choline_tui.kernel.errors import UsageError
from choline_tui.kernel.handover import Handover
from choline_tui.kernel.session import Item, OnProgress
from choline_tui.kernel.source import is_source
from choline_tui.model.code import CodeState
from choline_tui.model.here import HERE
from choline_tui.model.run import Run, SendItem
from choline_tui.provision.contents import Hashes, contents_of

__all__ = ["items_of", "with_values"]


def items_of(
    run: Run,
    run_dir: Path,
    hashes: Path | None = None,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> list[Item]:
    """``hashes``: where hashes of data are remembered. Blocking: for a thread; ``stop`` ends it. Raises
    ``UsageError`` for data that cannot be read."""
    found: list[Item] = []
    if run.code is not None and run.code.file_count:
        tree = run_dir / "src"
        materialise(run.code, tree)
        found.append(_code(run.code, tree, cloned=run.plan.place != HERE))
    with Hashes(hashes) as memory:
        for send in run.plan.send:
            if stop is not None and stop.is_set():
                raise UsageError("stopped")
            if is_source(send.path):
                found.append(_fetched(send, run))
                continue
            made = contents_of(Path(send.path), memory, on_progress=on_progress, stop=stop)
            found.append(
                Item(
                    str(made.base),
                    "data",
                    None,
                    send.into,
                    content=tuple(made.entries),
                    links=made.links,
                    left_out=tuple(made.skipped[:1000]),
                )
            )
    return found


def _code(code: CodeState, tree: Path, *, cloned: bool) -> Item:
    wanted = code.clone if cloned else None
    if wanted is None or not code.commit:
        return Item(str(tree), "src")
    top = os.fsencode(tree) + b"/"
    files = tuple(
        CloneFile(
            os.fsdecode(file.path),
            file.size,
            bool(file.mode & 0o100),
            os.lstat(top + file.path).st_mtime_ns,
            file.digest,
            os.fsdecode(file.link or b""),
        )
        for file in manifest(code).files
    )
    clone = Clone(wanted.url, code.commit, wanted.prefix, files)
    return Item(str(tree), "src", clone=clone, credentials=(wanted.token,) if wanted.token else ())


def with_values(item: Item, secrets: Handover) -> Item:
    """With the values of the secrets that it names, and no others."""
    named = {name: value for name, value in secrets.values.items() if name in item.credentials}
    return replace(item, values=Handover(named)) if named else item


def _fetched(send: SendItem, run: Run) -> Item:
    """What the machine fetches itself; variables of the run that name the place are no secrets."""
    env = run.plan.env
    endpoint = send.endpoint or env.get("AWS_ENDPOINT_URL_S3", "") or env.get("AWS_ENDPOINT_URL", "")
    region = send.region or env.get("AWS_REGION", "") or env.get("AWS_DEFAULT_REGION", "")
    return Item(
        "",
        "data",
        None,
        send.into,
        url=send.path,
        endpoint=endpoint if send.path.startswith("s3:") else "",
        region=region,
        credentials=tuple(send.credentials),
    )
