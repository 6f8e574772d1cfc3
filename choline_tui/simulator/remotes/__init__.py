"""The remotes behind the rehearsal market's instances.

``ProcessBackend``: real SSH endpoints on loopback, commands as real processes, real time.
``ModelledBackend``: no sockets, no processes, on any clock: thousands of lives in seconds.

Both implement ``simulator.backend.RemoteBackend``.
"""

from choline_tui.simulator.remotes.job_model import JobModel
from choline_tui.simulator.remotes.modelled import Execution, ModelledBackend
from choline_tui.simulator.remotes.modelled_session import ModelledSession
from choline_tui.simulator.remotes.process import ProcessBackend

__all__ = ["Execution", "JobModel", "ModelledBackend", "ModelledSession", "ProcessBackend"]
