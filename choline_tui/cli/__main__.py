"""``python -m choline_tui.cli`` is ``choline``."""

import sys

from choline_tui.cli import main

sys.exit(main())
