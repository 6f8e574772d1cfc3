"""The code of a run: what it is, and a frozen copy by content of exactly what will be sent.

``capture`` looks at a project's working tree and freezes it; ``materialise`` makes a directory to send
from, the same bytes whatever happened to the working tree since; ``rebuild`` makes one for a person, and
``write_difference`` tells two apart. All of them block: call them in a thread.
"""

from choline_tui.codestate.branch import capture_branch, cloneable
from choline_tui.codestate.commit import capture_commit
from choline_tui.codestate.difference import FileChange, changed_files, write_difference
from choline_tui.codestate.freeze import capture
from choline_tui.codestate.frozen import manifest, materialise, sweep
from choline_tui.codestate.rebuild import lay_out, rebuild

__all__ = [
    "FileChange",
    "capture",
    "capture_branch",
    "capture_commit",
    "changed_files",
    "cloneable",
    "lay_out",
    "manifest",
    "materialise",
    "rebuild",
    "sweep",
    "write_difference",
]
