"""What clients send, checked before anything is done with it: a UsageError of one line for what is wrong."""

import inspect
from typing import Any

from pydantic import ValidationError, validate_call

from choline_tui.engine.server import Method
from choline_tui.kernel.errors import UsageError
from choline_tui.model.request import RunRequest

__all__ = ["checked", "read_request"]


def read_request(fields: dict[str, Any]) -> RunRequest:
    try:
        return RunRequest.model_validate(fields)
    except ValidationError as error:
        raise _misuse("this request", error) from None


def _misuse(what: str, error: ValidationError) -> UsageError:
    """One line: the first thing that is wrong, without the value (it may be secret)."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return UsageError(f"{what}: {where}: {first['msg']}", hint="Is it from another version of choline?")


def checked(name: str, method: Method) -> Method:
    """The method, given only what its signature says; UsageError for anything else."""
    valid: Any = validate_call(config={"arbitrary_types_allowed": True})(method)
    if not inspect.iscoroutinefunction(method):

        def stream(**params: Any) -> Any:
            try:
                return valid(**params)
            except ValidationError as error:
                raise _misuse(name, error) from None

        return stream

    async def call(**params: Any) -> Any:
        try:
            return await valid(**params)
        except ValidationError as error:
            if error.title != method.__qualname__:
                raise  # of something inside, not of the call
            raise _misuse(name, error) from None

    return call
