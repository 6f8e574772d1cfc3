"""Every error choline raises on purpose, in one tree.

::

    CholineError                    what a person sees: one line, and what to do next
    |- UsageError                   the command, the config, the project file or a query is wrong      exit 2
    |  |- ConfigError
    |  |- ProjectError
    |  `- QueryError                (carries the column of the mistake)
    |- NotFound                     no such run, rental, offer                                         exit 4
    |  `- NoOffer                   the market has nothing that matches, or nothing under the cap
    |- SystemFault                  the market, a remote or this computer failed; not the task         exit 3
    |  |- EngineError               the engine cannot be reached or refused                            exit 7
    |  |- StoreError
    |  |- VastError                 see ``vast/``
    |  |  |- BadKey                 no key, or one the market does not know                            exit 5
    |  |  |- MissingScope           the key may not do this                                            exit 5
    |  |  |- NoCredit                                                                                  exit 5
    |  |  |- SpendLimit             a new account's spend rate limit                                   exit 5
    |  |  |- OfferGone              rented by someone else, or delisted: try the next
    |  |  |- RateLimited            ``until``: epoch s when it may be tried again                      exit 6
    |  |  |- QuotaSpent             ``until``: the daily search quota's reset                          exit 6
    |  |  |- UnknownOutcome         the request may have been carried out: look before acting again
    |  |  |- BadRequest             with the server's own words
    |  |  `- MarketDown             no answer, or an answer that is none: 5xx, cut, malformed
    |  `- RemoteError               see ``ssh/``
    |     |- SshRefused             nothing listens yet: try again
    |     |- SshTimeout             no answer: wrong address, or broken host networking
    |     |- SshDenied              the key is not accepted (yet)
    |     |- HostKeyChanged         another machine answers at this address: never go on by itself
    |     |- SshDropped             the connection was lost on the way
    |     |- TransferFailed         files did not arrive whole
    |     |- MachineRefused         the first-minute check failed: remember the machine
    |     `- ProtocolMismatch       the remote's supervisor speaks another version
    `- TaskFailed                   the user's own command failed                                      exit 1

``exit_code`` is what the command line ends with. ``hint`` says what to do next, as a sentence.
``code`` names the class over the engine's socket, so that a client raises the same type.
"""

from typing import Any, Dict, Optional, Type

__all__ = [
    "BadKey",
    "BadRequest",
    "CholineError",
    "ConfigError",
    "EngineError",
    "HostKeyChanged",
    "MachineRefused",
    "MarketDown",
    "MissingScope",
    "NoCredit",
    "NoOffer",
    "NotFound",
    "OfferGone",
    "ProjectError",
    "ProtocolMismatch",
    "QueryError",
    "QuotaSpent",
    "RateLimited",
    "RemoteError",
    "SpendLimit",
    "SshDenied",
    "SshDropped",
    "SshRefused",
    "SshTimeout",
    "StoreError",
    "SystemFault",
    "TaskFailed",
    "TransferFailed",
    "UnknownOutcome",
    "UsageError",
    "VastError",
    "error_from_wire",
]


class CholineError(Exception):
    """The root. ``message`` is one line for a person; ``details`` must be plain JSON values."""

    exit_code = 3
    default_hint = ""

    def __init__(self, message: str, *, hint: Optional[str] = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.details: Dict[str, Any] = details

    @property
    def code(self) -> str:
        return type(self).__name__

    def to_wire(self) -> Dict[str, Any]:
        return {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details}


class UsageError(CholineError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class ProjectError(UsageError):
    pass


class QueryError(UsageError):
    """``details['column']``: 0-based column of the mistake in the query text."""


class NotFound(CholineError):
    exit_code = 4


class NoOffer(NotFound):
    pass


class SystemFault(CholineError):
    exit_code = 3


class EngineError(SystemFault):
    exit_code = 7


class StoreError(SystemFault):
    pass


class VastError(SystemFault):
    pass


class BadKey(VastError):
    exit_code = 5
    default_hint = "Check the key with 'choline key check', or rehearse without one: 'choline demo'."


class MissingScope(VastError):
    exit_code = 5
    default_hint = "'choline key check' says which permissions the key has and which are needed."


class NoCredit(VastError):
    exit_code = 5
    default_hint = "Add credit at https://cloud.vast.ai/billing/, then try again."


class SpendLimit(VastError):
    exit_code = 5
    default_hint = "New accounts may spend little per hour: take a cheaper offer, or wait some hours."


class OfferGone(VastError):
    pass


class RateLimited(VastError):
    """``details['until']``: epoch s."""

    exit_code = 6


class QuotaSpent(RateLimited):
    """``details['until']``: epoch s of the reset."""


class UnknownOutcome(VastError):
    """The request may or may not have been carried out."""


class BadRequest(VastError):
    pass


class MarketDown(VastError):
    default_hint = "Check the network, then try again; runs under way go on trying by themselves."


class RemoteError(SystemFault):
    pass


class SshRefused(RemoteError):
    pass


class SshTimeout(RemoteError):
    pass


class SshDenied(RemoteError):
    pass


class HostKeyChanged(RemoteError):
    default_hint = "Another machine answers at this address. Nothing was sent to it."


class SshDropped(RemoteError):
    pass


class TransferFailed(RemoteError):
    pass


class MachineRefused(RemoteError):
    pass


class ProtocolMismatch(RemoteError):
    pass


class TaskFailed(CholineError):
    exit_code = 1


def _classes(root: Type[CholineError]) -> Dict[str, Type[CholineError]]:
    found = {root.__name__: root}
    for sub in root.__subclasses__():
        found.update(_classes(sub))
    return found


def error_from_wire(data: Dict[str, Any]) -> CholineError:
    """The error another process of ours sent, as the same type; an unknown type is a SystemFault."""
    cls = _classes(CholineError).get(str(data.get("code", "")), SystemFault)
    details = data.get("details")
    return cls(
        str(data.get("message", "unknown error")),
        hint=str(data.get("hint", "")),
        **(details if isinstance(details, dict) else {}),
    )
