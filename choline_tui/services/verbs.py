"""What can be done with a run besides starting and stopping it: repeat it, enter it, reach it, put it away.

What takes over a terminal is given as a command line for OpenSSH's own client (argument vectors: nothing
is to be quoted), so that a face decides how to run it. None of them holds a secret.
"""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choline_tui.kernel import layout
from choline_tui.kernel.errors import RemoteError, SystemFault, UsageError
from choline_tui.model.removable import why_not_removed
from choline_tui.model.request import RunRequest

if TYPE_CHECKING:
    from choline_tui.config.paths import Paths
    from choline_tui.config.user_ssh import UserSsh
    from choline_tui.model.run import Attempt
    from choline_tui.services.choline import RunView, SshAccess

__all__ = ["LEAVE", "Verbs", "control_key", "port_pair"]

LEAVE = "ctrl+\\"
"""the key that leaves a program's terminal, unless told otherwise"""
_KEY = re.compile(r"(?:ctrl\+|\^)([a-z\\\]^_])")
"""ctrl+[ is escape"""
_EDITOR = re.compile(r"[A-Za-z0-9_./+-]+")


def control_key(text: str) -> int:
    """``ctrl+b`` as the control character it sends (2). Raises UsageError for a key that cannot be one."""
    found = _KEY.fullmatch(text.strip().lower())
    if found is None or found[1] in "jm":  # newline and return
        raise UsageError(
            f"{text[:40]!r} is no key to leave with", hint="For example ctrl+b, ctrl+] or ctrl+\\."
        )
    return ord(found[1]) & 0x1F


def port_pair(text: str) -> tuple[int, int]:
    """``6006`` or ``8080:80`` as (port here, port there). Raises UsageError."""
    here, colon, there = text.partition(":")
    pair = (here, there if colon else here)
    if not all(p.isascii() and p.isdigit() and len(p) < 6 and 0 < int(p) < 65536 for p in pair):
        raise UsageError(f"{text[:40]!r} is no port", hint="PORT, or PORT:REMOTE when they differ: 8080:80.")
    return int(pair[0]), int(pair[1])


class Verbs:
    """A part of ``Choline``. Methods raise NotFound for a run there is not, and those that reach for its
    machine RemoteError when it has none that answers."""

    paths: "Paths"
    environ: Mapping[str, str]

    async def _call(self, method: str, **params: Any) -> Any:
        raise NotImplementedError

    def show(self, run: str) -> "RunView":
        raise NotImplementedError

    def runs(self) -> "list[RunView]":
        raise NotImplementedError

    async def ssh(self, run: str) -> "SshAccess":
        raise NotImplementedError

    # ---------------------------------------------------------------------------------- once more

    def again(self, run: str, *, same_code: bool = True, **changes: Any) -> RunRequest:
        """A request for the same plan and, with ``same_code``, the same frozen code, byte for byte; else the
        files as they are now. ``changes``: fields of ``RunRequest`` over it. Spends nothing: for ``plan``
        and ``start``."""
        old = self.show(run).run
        fields = {"project": old.plan.project, "like": old.id, "same_code": same_code, **changes}
        return RunRequest(**fields)

    def like(self, run: str, *, project: str = "", **changes: Any) -> RunRequest:
        """A request for the present project (``project``: absolute directory, '' the current one) on what
        that run was rented by: query, kind of rental, disk, cap and image. ``changes`` and use as
        ``again``."""
        old = self.show(run).run
        fields = {"project": project or str(Path.cwd()), "like": old.id, "like_what": "machine", **changes}
        return RunRequest(**fields)

    # ----------------------------------------------------------------------------------- put away

    @staticmethod
    def why_not_removed(view: "RunView", *, drop_results: bool = False) -> str:
        """Why ``rm`` would refuse this run, as a sentence; '' when it would not."""
        reason = why_not_removed(view.run, view.attempts, view.rentals, drop_results=drop_results)
        return reason.message if reason is not None else ""

    @staticmethod
    def check_removable(view: "RunView", *, drop_results: bool = False) -> None:
        """Raises UsageError, with what to do, where ``rm`` would refuse this run."""
        reason = why_not_removed(view.run, view.attempts, view.rentals, drop_results=drop_results)
        if reason is not None:
            raise UsageError(reason.message, hint=reason.hint)

    async def rm(
        self, *runs: str, drop_results: bool = False, files: bool = True, results: bool = False
    ) -> list[dict[str, Any]]:
        """Take ended runs out of the lists, all or none: [{"run", "bytes" (freed here)}].

        ``files``: delete logs, evidence and frozen code. ``results``: delete what came home too.
        ``drop_results``: although results never came home whole. The rows of the event log and the money
        stay. Raises UsageError for a run that is live, may bill, or would lose results; StoreError when
        files cannot be deleted.
        """
        answer: list[dict[str, Any]] = await self._call(
            "rm", runs=list(runs), drop_results=drop_results, files=files, results=results
        )
        return answer

    def prunable(self, older_than: float, now: float) -> "list[RunView]":
        """Runs that ended more than ``older_than`` s before ``now`` (epoch s) and that ``rm`` would take,
        oldest first."""
        found = [
            view
            for view in self.runs()
            if view.run.ended is not None
            and now - view.run.ended >= older_than
            and not self.why_not_removed(view)
        ]
        return sorted(found, key=lambda view: view.run.ended or 0.0)

    # -------------------------------------------------------------------------------------- enter

    async def ssh_command(self, run: str) -> list[str]:
        """An interactive shell in the run's source directory."""
        return (await self.ssh(run)).shell()

    async def exec_command(self, run: str, *words: str, tty: bool = False) -> list[str]:
        """A command with the variables and the directory of the run's own; without words a shell. One word
        is text for the shell, several are a command with its words. ``tty``: on a terminal."""
        attempt = self._handed_over(self.show(run))
        text = words[0] if len(words) == 1 else shlex.join(words)
        verb = ["enter", attempt.job, *(["--", text] if text else [])]
        return (await self.ssh(run)).command(_supervisor(*verb), tty=tty or not text)

    async def attach_command(self, run: str, key: str = LEAVE) -> list[str]:
        """The running program's own terminal; ``key`` (``control_key``) leaves it. Several may be attached.

        Raises UsageError for a run that has ended or was not given a terminal.
        """
        number = control_key(key)
        view = self.show(run)
        if not view.run.live:
            raise UsageError(
                f"run {view.run.id} has ended ({view.run.outcome})",
                hint=f"'choline logs {view.run.id}' shows what it printed.",
            )
        if not view.run.plan.tty:
            raise UsageError(
                f"the command of run {view.run.id} does not run on a terminal",
                hint="'choline run --tty ...', or 'tty = true' in choline.toml, gives the next one its own; "
                f"'choline logs -f {view.run.id}' follows this one.",
            )
        attempt = self._handed_over(view)
        access = await self.ssh(run)
        return access.command(_supervisor("attach", attempt.job, "--key", str(number)), tty=True)

    @staticmethod
    def _handed_over(view: "RunView") -> "Attempt":
        attempt = view.attempts[-1] if view.attempts else None
        if attempt is None or attempt.submitted is None:
            raise RemoteError(
                f"the command of run {view.run.id} has not begun yet ({view.run.state})",
                hint=f"'choline logs -f {view.run.id}' waits for it.",
            )
        return attempt

    async def open_command(
        self, run: str, editor: str = "code", *, user_config: Path | None = None
    ) -> list[str]:
        """The run's source directory in VS Code over SSH, or in an editor of its family (``editor``: the
        program's name). It starts a window and ends.

        Raises SystemFault when there is no such program, UsageError when the editor would not know the
        machine: it reads the user's own SSH configuration (see ``ssh_include``).
        """
        program = shutil.which(editor, path=self.environ.get("PATH")) if _EDITOR.fullmatch(editor) else None
        if program is None:
            raise SystemFault(
                f"there is no program '{editor[:60]}' here",
                hint="In VS Code: 'Shell Command: Install code command in PATH'. --editor names another one "
                f"(codium, cursor); 'choline ssh {run}' opens a shell.",
            )
        found = self.show(run).run
        if found.plan.place == "here":
            return [program, f"{(await self.ssh(run)).absolute}/src"]
        if not self.ssh_include(user_config).installed:
            raise UsageError(
                "the editor reads your own SSH configuration, and that knows no machine of ours",
                hint="'choline ssh-config install' adds one line to it.",
            )
        access = await self.ssh(run)
        remote = f"ssh-remote+{self.ssh_name(found.id)}"
        return [program, "--remote", remote, f"{access.absolute}/src"]

    # -------------------------------------------------------------------------------------- reach

    @staticmethod
    def ssh_name(run: str) -> str:
        """What any SSH tool may call the machine of the run with that id, once ``ssh_include`` is in."""
        return f"choline-{run}"

    def ssh_include(self, user_config: Path | None = None) -> "UserSsh":
        """The line by which the user's own SSH configuration (``user_config``; None: ~/.ssh/config) knows
        our machines: ``installed``, ``install()``, ``remove()``. Nothing is done without being asked."""
        from choline_tui.config.user_ssh import UserSsh

        return UserSsh(self.paths.ssh_names, user_config)

    async def forward_command(self, run: str, *ports: str) -> list[str]:
        """Ports of this computer, for this computer only, that lead to ports of the run's machine
        (``port_pair``). It goes on until it is ended, and ends with status 255 when a port is taken."""
        pairs = [port_pair(port) for port in ports]
        if not pairs:
            raise UsageError("which port?", hint="For example 6006, or 8080:80.")
        access = await self.ssh(run)
        if access.here:
            raise UsageError("the run is on this computer: its ports are here already", hint="")
        tunnels = [word for here, there in pairs for word in ("-L", f"127.0.0.1:{here}:localhost:{there}")]
        options = ["-N", "-o", "ClearAllForwardings=no", "-o", "ExitOnForwardFailure=yes"]
        return ["ssh", "-F", access.config, *options, *tunnels, access.target]

    async def ls_command(self, run: str, path: str = "") -> list[str]:
        """A listing of ``path``, relative to the run's directory on its machine. Its output is foreign."""
        return await self._in_directory(run, ["ls", "-la", "--", path or "."])

    async def cat_command(self, run: str, path: str) -> list[str]:
        """The bytes of a file; ``path`` as ``ls_command``."""
        return await self._in_directory(run, ["cat", "--", path])

    async def _in_directory(self, run: str, words: Sequence[str]) -> list[str]:
        access = await self.ssh(run)
        return access.command(f"cd {shlex.quote(access.directory)} && {shlex.join(words)}")

    def at_home(self, run: str, path: str = "") -> Path | None:
        """Where ``path`` of an ended run lies on this computer; None when it is live or it is not here."""
        found = self.show(run).run
        if found.live or not found.plan.results_into:
            return None
        top = Path(found.plan.results_into)
        place = top / path
        inside = top in (place, *place.parents) and ".." not in place.parts
        return place if inside and place.exists() else None


def _supervisor(*words: str) -> str:
    """A shell's text that runs a verb of the program on the machine."""
    return f"cd && exec sh {layout.LAUNCHER} {shlex.join(words)}"
