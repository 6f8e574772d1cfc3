"""What a person can ask for: the public Python API. Importable, async, typed.

::

    from choline_tui.services import Choline

    async with Choline() as choline:
        run = await choline.start(choline.request(command="python train.py", gpu="1x4090"))
        run = await choline.wait(run.id)
        print(run.outcome, run.plan.results_into)

Queries read the store; commands go to the engine over its socket, which is started when it is needed.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from choline_tui.services.choline import Choline, RunView

__all__ = ["Choline", "RunView"]


def __getattr__(name: str) -> Any:
    # late: pydantic is not loaded by what only asks for a version or a help text
    if name in __all__:
        from choline_tui.services import choline

        return getattr(choline, name)
    raise AttributeError(name)
