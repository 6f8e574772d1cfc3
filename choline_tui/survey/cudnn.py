"""Which cuDNN a project's packages bring, and which this computer has."""

import os
import re
from collections.abc import Iterable, Mapping

from choline_tui.survey.found import Finding
from choline_tui.survey.tree import Tree, read_text

__all__ = ["find_cudnn"]

MAX_LOCK = 16 << 20
_PINNED = re.compile(
    r'nvidia-cudnn(?:-cu\d+)?"?\s*(?:==|\n\s*version\s*=\s*"|:\s*\{[^{}]*?"version":\s*"==)(\d+\.\d+)'
)
_HEADERS = ("include/cudnn_version.h", "include/x86_64-linux-gnu/cudnn_version.h")
"""where NVIDIA's packages put it; the numbers are #defines since cuDNN 8"""


def find_cudnn(
    tree: Tree, packages: Iterable[Finding], environ: Mapping[str, str], system: str = "/usr"
) -> list[Finding]:
    """What a lock or requirements pin, then the active environment, then the headers of this computer."""
    found = []
    locks = [name for name in ("uv.lock", "poetry.lock", "Pipfile.lock") if name in tree.files]
    loose = sorted(p for p in tree.files if re.fullmatch(r"requirements([-_.][\w.-]+)?\.txt", p))
    for path in (*locks, *loose):
        text = read_text(os.path.join(tree.top, path), MAX_LOCK)
        if said := _PINNED.search(text):
            found.append(
                Finding(said[1], f"{path}:{text.count(chr(10), 0, said.start()) + 1}", "nvidia-cudnn")
            )
    for package in packages:
        if said := _PINNED.match(package.value):
            found.append(Finding(said[1], package.where, "nvidia-cudnn"))
    for top in dict.fromkeys((environ.get("CUDA_HOME", ""), system)):
        for header in _HEADERS if top else ():
            text = read_text(os.path.join(top, header))
            numbers = dict(re.findall(r"#define CUDNN_(MAJOR|MINOR) (\d+)", text))
            if len(numbers) == 2:
                place = "this computer" if top == system else "CUDA_HOME"
                found.append(Finding(f"{numbers['MAJOR']}.{numbers['MINOR']}", place, "its headers"))
    return found
