"""The remotes behind the rehearsal market's instances.

``ProcessBackend``: real SSH endpoints on loopback, commands as real processes, real time.
``ModelledBackend``: no sockets, no processes, on any clock: thousands of lives in seconds.

Both implement ``simulator.backend.RemoteBackend``.
"""

from choline_tui.simulator.remotes.modelled import Job, JobModel, ModelledBackend
from choline_tui.simulator.remotes.process import ProcessBackend

__all__ = ["Job", "JobModel", "ModelledBackend", "ProcessBackend"]
