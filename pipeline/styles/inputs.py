"""Input handlers: large inputs of actions go into a store of the user's, and only a word about them travels.

    handler = InputHandler("local")

    @handler.saver("local")
    def save(data, genealogy):
        path = f"/shared/{'__'.join(genealogy)}.json"
        ...                                # write the data there
        return path                        # this is sent instead of the data

    @handler.loader("local")
    def load(path): ...                    # and this makes the data of it, beside the worker

    headrace.submit(job, inputs=handler)

A Broker finds the handlers that its modules of workers hold, by the protocols of their loaders.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import ConfigError, NotFound

SAVED, PROTOCOL = "_saved", "_protocol"
"""What an action is sent instead of inputs that a saver has taken. No input begins with an underscore."""
HELD = "_inputs"
"""Where the inputs of a handler of errors stand: beside them it is told what went wrong."""

F = TypeVar("F", bound=Callable[..., Any])


class UnknownProtocol(NotFound, KeyError):
    """No saver, or no loader, was registered for this protocol."""

    def __str__(self) -> str:
        return str(self.args[0])


class NoProtocol(ConfigError, AssertionError):
    """A saver or loader has to be for some protocol."""


class InputHandler:
    """Savers and loaders by protocol. It saves with `protocol`; without one, inputs travel as they are."""

    def __init__(self, protocol: str | None = None) -> None:
        self.protocol = protocol
        self._savers: dict[str, Callable[..., Any]] = {}
        self._loaders: dict[str, Callable[..., Any]] = {}

    def saver(self, protocol: str | None = None) -> Callable[[F], F]:
        """Register a function that saves: it is given `data` and `genealogy`, as far as it names them."""
        return self._registered(self._savers, protocol, "saver")

    def loader(self, protocol: str | None = None) -> Callable[[F], F]:
        """Register a function that makes the data again of what the saver has returned."""
        return self._registered(self._loaders, protocol, "loader")

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that it can load."""
        return tuple(self._loaders)

    def save(self, data: Any, genealogy: Sequence[str] = ()) -> Any:
        """What is sent instead of the data. `genealogy`: the titles from the job down to it."""
        if self.protocol is None:
            return data
        saver = self._found(self._savers, self.protocol, "saver")
        return saver(**_named(saver, {"data": data, "genealogy": tuple(genealogy)}))

    def load(self, saved: Any, protocol: str | None = None) -> Any:
        """The data again; `protocol` is its own, if another is not named."""
        protocol = protocol or self.protocol
        if protocol is None:
            return saved
        return self._found(self._loaders, protocol, "loader")(saved)

    def packed(self, inputs: Mapping[str, Any], genealogy: Sequence[str]) -> Mapping[str, Any]:
        """The inputs of an action as they travel."""
        if self.protocol is None or not inputs:
            return inputs
        return {PROTOCOL: self.protocol, SAVED: self.save(dict(inputs), genealogy)}

    def _registered(self, table: dict[str, Callable[..., Any]], protocol: str | None, what: str) -> Callable[[F], F]:
        name = protocol or self.protocol
        if not isinstance(name, str) or not name:
            raise NoProtocol(f"a {what} is for some protocol: write @handler.{what}('name') or InputHandler('name')")

        def register(function: F) -> F:
            if not callable(function):
                raise ConfigError(f"@handler.{what}({name!r}) takes a function, not {function!r}")
            table[name] = function
            return function

        return register

    def _found(self, table: Mapping[str, Callable[..., Any]], protocol: str, what: str) -> Callable[..., Any]:
        try:
            return table[protocol]
        except KeyError:
            known = ", ".join(table) or "none"
            raise UnknownProtocol(
                f"{what} for protocol", protocol, f"known: {known}; add one with @handler.{what}"
            ) from None

    def __repr__(self) -> str:
        return f"<InputHandler: protocol={self.protocol!r}, loads {', '.join(self._loaders) or 'nothing'}>"


def _named(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is offered, what the function has parameters for."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return dict(offered)
    return {name: value for name, value in offered.items() if name in parameters}
