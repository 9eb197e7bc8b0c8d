"""Roles: workers that actions call by the name of their role, each with the inputs of its action as keywords.

    @role("encode")
    def encode(source, crf=23): ...

    Action(_role="encode", source="a.mov")

A role is a worker and a place at once: only Brokers that serve the role run it, and they find the function in their
modules. Three are everywhere: `echo` prints what it is given, `cmd` and `shell` run shell text. A module may have its
own under these names.

A keyword that the function does not have fails the action. Inputs that a saver has taken are loaded here, beside the
function. A handler of errors that has parameters `state` and `error` is told how its group has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..pipeline.definition import Bind
from ..pipeline.errors import ConfigError, JobError
from ..pipeline.styles.inputs import HELD, PROTOCOL, SAVED, InputHandler, UnknownProtocol
from .current import current
from .functions import DECLARED, Parameters, worker
from .runnable import FunctionRunnable, Runnable, Subject

F = TypeVar("F", bound=Callable[..., Any])
Loaders = Mapping[str, InputHandler]
TOLD = ("state", "error")
_EXPRESSION = frozenset("&|!(), ")


def role(name: str) -> Callable[[F], F]:
    """Make a function the worker of a role. It stays the function that it is."""
    if callable(name):
        raise ConfigError(f"@role is given the name of the role: write @role({getattr(name, '__name__', 'encode')!r})")
    if not isinstance(name, str) or not name or not _EXPRESSION.isdisjoint(name):
        raise ConfigError(f"@role({name!r}): a role is named by one word, such as 'encode'")

    def declare(target: F) -> F:
        if DECLARED in vars(target):
            raise ConfigError(f"@role({name!r}): {target!r} has a role or a worker's name already")
        return worker(name=name, role=name)(target)

    return declare


class RoleRunnable(Runnable):
    """The worker of a role, around the function or class itself: it makes the inputs of an action its keywords."""

    def __init__(self, inner: Runnable, loaders: Loaders) -> None:
        super().__init__(inner.name, inner.requires, inner.role, inner.target)
        self.kind = inner.kind
        self.optional = inner.optional
        self.version = inner.version
        self._inner = inner
        self._loaders = loaders
        function = isinstance(inner, FunctionRunnable)
        names = Parameters(inner.target) if function else None
        self._told = () if names is None else (*names.positional, *names.keyword_only)

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        if bind == "literal" and isinstance(value, dict):
            value = self._inputs(value)
        return self._inner.invoke(bind, value, subject)

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        held = value.get(HELD, value) if isinstance(value, dict) else None
        if isinstance(held, dict) and SAVED in held:
            raise JobError("an InputHandler loads its inputs, and what it finds may be something else next time")
        return self._inner.inputs(bind, value, subject)

    def _inputs(self, value: dict[str, Any]) -> Any:
        if HELD in value:
            told = {name: value[name] for name in TOLD if name in self._told and name in value}
            inputs = self._inputs(value[HELD])
            return {**told, **inputs} if isinstance(inputs, dict) else inputs
        if SAVED in value and PROTOCOL in value:
            return self._loaded(value[SAVED], value[PROTOCOL])
        return value

    def _loaded(self, saved: Any, protocol: str) -> Any:
        handler = self._loaders.get(protocol)
        if handler is None:
            known = ", ".join(self._loaders) or "none"
            hint = f"put an InputHandler with @handler.loader({protocol!r}) into a module of workers; known: {known}"
            raise UnknownProtocol("loader for protocol", protocol, hint)
        return handler.load(saved, protocol)


@role("echo")
def echo(**inputs: Any) -> None:
    """Print the inputs: a text alone as it is, others by name."""
    text = [inputs.pop(name) for name in ("input", "msg") if name in inputs]
    print(*text, *(f"{name}={value!r}" for name, value in inputs.items()))  # noqa: T201  this is what it is for


@role("cmd")
def cmd(**inputs: Any) -> Any:
    """Run shell text, given as `cmd` or `input`, in `cwd` and with `env`. All other inputs stand on standard input."""
    text = inputs.pop("cmd") if "cmd" in inputs else inputs.pop("input", None)
    if not isinstance(text, str) or not text.strip():
        raise TypeError(f"shell text is needed, given as cmd= or input=, not {text!r}")
    cwd, env = inputs.pop("cwd", None), inputs.pop("env", None)
    return current().shell(text, inputs or None, cwd=cwd, env=env)


@role("shell")
def shell(**inputs: Any) -> Any:
    """The same as `cmd`."""
    return cmd(**inputs)


BUILT_IN = (echo, cmd, shell)
"""The roles of every catalog."""
