"""A market that speaks Vast's HTTP API, and the remotes behind it, for rehearsals without an account.

Of ours it imports ``kernel/`` only: the wire format is written twice on purpose, here and in ``vast/``.
``Simulator`` is the whole thing; ``serve`` is the program behind ``choline simulate``.
"""

from choline_tui.simulator.backend import Endpoint, Gpu, Launch, NoRemotes, RemoteBackend
from choline_tui.simulator.rehearsal import Simulator
from choline_tui.simulator.wire import Request, Response

__all__ = ["Endpoint", "Gpu", "Launch", "NoRemotes", "RemoteBackend", "Request", "Response", "Simulator"]
