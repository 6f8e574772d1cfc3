"""Where the market's key is, and keeping secrets out of texts.

``Secret`` and ``redact`` themselves live in ``kernel/``, so that everyone may hold one.
"""

from choline_tui.kernel.secret import Secret, redact
from choline_tui.secrets.lookup import find_key

__all__ = ["Secret", "find_key", "redact"]
