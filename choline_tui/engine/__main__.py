"""``python -m choline_tui.engine``: the engine in the foreground."""

from choline_tui.engine.main import main

raise SystemExit(main())
