"""Where things are on a remote. One layout, whatever the place.

::

    ~/choline/
      <run>/.clone/     a clone of the code that is being made
      <run>/src/        the code as sent; the command's working directory
      <run>/data/       what `data` of the project names
      <run>/keep/       survives to the next attempt (checkpoints); comes home too
      <run>/results/    comes home every few minutes and at the end
      <run>/environment.sh  written by a set-up that built an environment: the command runs in it
      <run>/site/       the project's own packages, where it has some
      .system/          the supervisor's own; mode 0700
        supervisor.pyz  the program (zipapp of kernel/ and remote/)
        run             starts it with the Python that was found: sh ~/choline/.system/run VERB
        supervisor.json heartbeat: pid, protocol, version, times (written every few seconds)
        supervisor.lock held by the one supervisor of this remote
        supervisor.log
        lease.json      written by home; its age is the file's mtime, on the remote's own clock
        spool/          jobs in: <job>.json, by atomic rename
        stop/           stop requests in: <job>.json, by atomic rename
        data/<key>/     data by content, shared by the runs that use it: tree/, whole, lock, runs/, part/
        jobs/<job>/     spec.json, status.json, setup.log, run.log; tty: where its terminal is attached to;
                        secrets: where its secrets lie (``remote/vault.py``)
        guard/          deadline, env (0600: CONTAINER_ID, CONTAINER_API_KEY, VAST_URL), environ (the
                        container's variables), safe (may be destroyed), expired, guard.log, pid

A job's id is ``<run>-<attempt>``. Paths are relative to the remote user's home.
"""

__all__ = [
    "ACTIVATE",
    "DATA",
    "GUARD",
    "JOBS",
    "LAUNCHER",
    "LEASE",
    "ROOT",
    "SPOOL",
    "STOP",
    "SUPERVISOR",
    "SYSTEM",
    "data_tree",
    "environment",
    "job_dir",
    "run_dir",
]

from typing import Dict

ROOT = "choline"
SYSTEM = ROOT + "/.system"
SUPERVISOR = SYSTEM + "/supervisor.pyz"
SPOOL = SYSTEM + "/spool"
STOP = SYSTEM + "/stop"
JOBS = SYSTEM + "/jobs"
DATA = SYSTEM + "/data"
LAUNCHER = SYSTEM + "/run"
LEASE = SYSTEM + "/lease.json"
GUARD = SYSTEM + "/guard"

ACTIVATE = '[ ! -f "$CHOLINE_ROOT/environment.sh" ] || . "$CHOLINE_ROOT/environment.sh"'
"""shell: be in the environment of a run, where it has one"""

PARTS = ("src", "data", "keep", "results")


def data_tree(key: str) -> str:
    """Where the content of that key lies, or arrives."""
    return DATA + "/" + key + "/tree"


def run_dir(run: str) -> str:
    return ROOT + "/" + run


def job_dir(job: str) -> str:
    return JOBS + "/" + job


def environment(home: str, run: str, attempt: int, gpus: int) -> Dict[str, str]:
    """The CHOLINE_* variables a run's command sees; ``home`` is the remote user's home directory."""
    base = home.rstrip("/") + "/" + run_dir(run)
    return {
        "CHOLINE_RUN": run,
        "CHOLINE_ATTEMPT": str(attempt),
        "CHOLINE_ROOT": base,
        "CHOLINE_SRC": base + "/src",
        "CHOLINE_DATA": base + "/data",
        "CHOLINE_KEEP": base + "/keep",
        "CHOLINE_RESULTS": base + "/results",
        "CHOLINE_NUM_GPUS": str(gpus),
    }
