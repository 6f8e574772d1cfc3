"""The code of a run: what it is, and a frozen copy by content of exactly what will be sent.

``capture`` looks at a project's working tree and freezes it; ``materialise`` makes a directory to send
from, the same bytes whatever happened to the working tree since. Both block: call them in a thread.
"""

from choline_tui.codestate.commit import capture_commit
from choline_tui.codestate.freeze import capture
from choline_tui.codestate.frozen import manifest, materialise, sweep

__all__ = ["capture", "capture_commit", "manifest", "materialise", "sweep"]
