"""Looking at a project's directory: what it runs, needs, reads and writes, each fact with where it was found.

Nothing of the project is executed; git, nvcc and nvidia-smi are asked, with a time limit.
"""

from choline_tui.survey.found import Directory, Finding, Survey, tellable
from choline_tui.survey.look import size_of, survey
from choline_tui.survey.older import Older, Taken, read_older
from choline_tui.survey.places import RESULT_NAMES

__all__ = [
    "RESULT_NAMES", "Directory", "Finding", "Older", "Survey", "Taken", "read_older", "size_of", "survey",
    "tellable",
]  # fmt: skip
