"""A command, or a shell, as the job's own command sees the machine: its directory and its variables."""

import os
import shutil
from typing import Dict, List, NoReturn, Tuple

from choline_tui.kernel import layout
from choline_tui.kernel.errors import NotFound
from choline_tui.remote.jobstore import JobStore
from choline_tui.remote.machine import Machine
from choline_tui.remote.paths import Paths
from choline_tui.remote.vault import Vault

__all__ = ["enter", "prepared"]


def prepared(
    paths: Paths, machine: Machine, store: JobStore, job: str, text: str
) -> Tuple[List[str], Dict[str, str], str]:
    """(arguments, variables, directory) for ``text`` given to a shell; '' is a shell to type into.

    The variables come from the job as it lies here, so that none travels in a command line. Raises
    NotFound for a job that was never handed in.
    """
    spec = store.spec(job)
    if spec is None:
        raise NotFound(
            "no job %s on this remote" % job,
            hint="The machine is still being prepared; 'choline ssh' enters.",
        )
    env = machine.user_environment(os.environ)
    env.update(layout.environment(paths.home, spec.run, spec.attempt, spec.gpus))
    env.update(spec.env)
    env.update(Vault(paths).read(job))  # while the job lives
    directory = paths.run(spec.run, "src")
    env["PWD"] = directory
    if text:
        text = "%s\n%s" % (layout.ACTIVATE, text)
        return [shutil.which("bash") or "/bin/sh", "-c", text], env, directory
    shell = env.get("SHELL") or shutil.which("bash") or "/bin/sh"
    return ["/bin/sh", "-c", layout.ACTIVATE + '; exec "$0" -i', shell], env, directory


def enter(paths: Paths, machine: Machine, store: JobStore, job: str, text: str) -> NoReturn:
    """Become it. Raises as ``prepared``, and ``OSError``."""
    arguments, env, directory = prepared(paths, machine, store, job, text)
    os.chdir(directory)
    os.execve(arguments[0], arguments, env)  # noqa: S606
