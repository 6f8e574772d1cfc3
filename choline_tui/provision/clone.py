"""The code of a run by a clone on the remote. It saves sending, and nothing else: what fails is told."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from choline_tui.kernel.clone import Cloned
from choline_tui.kernel.errors import (
    CholineError,
    HostKeyChanged,
    SshDenied,
    SshDropped,
    SshRefused,
    SshTimeout,
)
from choline_tui.kernel.session import Item
from choline_tui.kernel.source import shown
from choline_tui.kernel.text import plain
from choline_tui.provision.data import in_words

__all__ = ["cloned"]

WITHIN_S = 660.0
"""somewhat longer than the remote gives it"""
_CUT_OFF = (SshDropped, SshDenied, SshRefused, HostKeyChanged)


async def cloned(verb: Callable[[str, bytes, float], Awaitable[Any]], run: str, item: Item) -> str:
    """Have it made, before the item is sent; words for a person, '' where there is nothing to tell. Raises
    only when the connection is lost."""
    assert item.clone is not None
    token = next(iter(item.values.values.values()), "")
    try:
        request = replace(item.clone, token=token).to_wire()
        done = Cloned.from_wire(await verb(f"clone {run}", request, WITHIN_S))
        why = plain(done.why)[:300]
    except SshTimeout:
        why, done = "it took too long", Cloned()
    except _CUT_OFF:
        raise
    except (CholineError, ValueError) as error:
        older = "invalid choice" in str(error)
        why = "its program is of an older choline" if older else plain(str(error)).strip(".")[:300]
        done = Cloned()
    if why:
        return f"the code is sent from here: the machine could not clone it ({why})"
    if not done.count:
        return ""
    commit, whole = item.clone.commit[:8], len(item.clone.tree)
    return (
        f"the machine cloned {commit} from {shown(item.clone.url)}: {done.count:,} of {whole:,} files, "
        f"{in_words(done.size)} that are not sent from here"
    )
