"""Secrets that a project's code seems to need: by the variables that it reads, and what it logs in to."""

import re

from choline_tui.model.tokens import is_secret_name
from choline_tui.survey.found import Finding
from choline_tui.survey.tree import Tree

__all__ = ["find_needs"]

_READS = re.compile(
    r"""(?:\benviron\s*\[\s*|\benviron\.get\(\s*|\bgetenv\(\s*)["']([A-Za-z_][A-Za-z0-9_]{0,99})["']""",
    re.ASCII,
)
_LOGINS = (
    ("WANDB_API_KEY", re.compile(r"^\s*(?:import|from)\s+wandb\b", re.M)),
    (
        "HF_TOKEN",
        re.compile(r"^\s*(?:import|from)\s+huggingface_hub\b|\bpush_to_hub\s*(?:\(|=\s*True)", re.M),
    ),
)
OURS = ("CHOLINE_", "VAST_API_KEY", "CONTAINER_API_KEY")


def find_needs(tree: Tree) -> list[Finding]:
    """Names of variables, each where it is first needed."""
    found: dict[str, Finding] = {}
    for path, text in tree.scripts():
        for name, pattern in _LOGINS:
            said = pattern.search(text) if name not in found else None
            if said:
                found[name] = _at(name, path, text, said.end())
        for said in _READS.finditer(text):
            name = said[1]
            if name not in found and is_secret_name(name) and not name.startswith(OURS):
                found[name] = _at(name, path, text, said.start())
    return list(found.values())[:50]


def _at(name: str, path: str, text: str, position: int) -> Finding:
    return Finding(name, f"{path}:{text.count(chr(10), 0, position) + 1}")
