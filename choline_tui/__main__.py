"""``python -m choline_tui`` is ``choline``."""

import sys

from choline_tui.cli import main

sys.exit(main())
