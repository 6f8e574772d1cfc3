"""Where the market's key and a run's secrets are, and keeping them out of texts.

``Secret`` and ``redact`` themselves live in ``kernel/``, so that everyone may hold one.
"""

from choline_tui.kernel.secret import Secret, redact
from choline_tui.secrets.find import Found, Hidden, Value, find, missing_error
from choline_tui.secrets.lookup import find_key

__all__ = ["Found", "Hidden", "Secret", "Value", "find", "find_key", "missing_error", "redact"]
