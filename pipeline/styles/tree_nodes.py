"""The nodes of a block tree, read from its dicts and checked: what may stand where, in one place for all who write one.

    {"Job": {"title": ..., "children": [NODE, ...], "cmds": [ACTION, ...], OPTIONS, NOTES}}
    {"Task": {the same}}         {"Instance": {"title": ...}}         {"Action": {OPTIONS, INPUTS}}

`children` run one after the other, or all at once with `parallel: true` (`serialsubtasks` is the opposite word); then
`cmds`, always one after the other. A key that begins with an underscore is an option of the system, and is called like
the option of `headrace.Job` (of `headrace.Pipeline`, on the root) that it sets; on a Job or Task those of actions are
inherited. Any other key belongs to the user. What is wrong is named with its path, such as
`Job.children[1].Task.children[0]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..checks import Check, any_text, fault, flag, one_of, show, text, unknown
from ..definition import HookKind
from ..errors import DefinitionError
from ..group import HOOK_KINDS
from ..options import COMMAND_PARTS, JOB_OPTIONS, Retry
from ..run_options import RUN_OPTIONS

MAX_DEPTH = 100
"""How deep tasks may stand in each other."""


@dataclass(slots=True)
class ActionNode:
    path: str
    inputs: dict[str, Any]
    options: dict[str, Any]
    whenerror: bool = False
    command: bool = False
    """It stands under `cmds`: its `argv` is a command line."""


@dataclass(slots=True)
class InstanceNode:
    path: str
    title: str


@dataclass(slots=True)
class GroupNode:
    path: str
    title: str
    parallel: bool
    options: dict[str, Any]
    children: list[Node] = field(default_factory=list)
    cmds: list[ActionNode] = field(default_factory=list)
    hooks: dict[HookKind, list[ActionNode]] = field(default_factory=dict)


Node = GroupNode | ActionNode | InstanceNode


def read(tree: Any) -> GroupNode:
    """The root, with everything below it. Raises `DefinitionError`."""
    if not isinstance(tree, Mapping) or list(tree) != ["Job"]:
        raise DefinitionError(f'a job must be {{"Job": {{"title": ..., "children": [...]}}}}, not {show(tree)}')
    _check_whole(tree, "Job")
    return _group("Job", "Job", tree["Job"], RUN, 0)


def read_several(trees: Any, path: str = "children", command: bool = False) -> list[Node]:
    """Nodes that stand in a list, as below a Job or Task."""
    return _several(path, trees, 1, command)


def _node(path: str, given: Any, depth: int, command: bool) -> Node:
    if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in _KINDS:
        raise DefinitionError(f'{path}: must be {{"Task": {{...}}}} or {{"Action": {{...}}}}, not {show(given)}')
    kind = next(iter(given))
    if kind == "Action":
        return _action(f"{path}.Action", given[kind], command)
    if command or kind == "Job":
        raise DefinitionError(f"{path}: a {kind} cannot stand here, only {'an Action' if command else 'a Task'}")
    _check_whole(given, path)
    if kind == "Instance":
        inside = _map(f"{path}.Instance", given[kind])
        return InstanceNode(f"{path}.Instance", _title(f"{path}.Instance", inside))
    return _group(kind, f"{path}.Task", given[kind], GROUP, depth)


def _group(kind: str, path: str, given: Any, known: Mapping[str, Check], depth: int) -> GroupNode:
    if depth > MAX_DEPTH:
        raise DefinitionError(f"{_elided(path)}: tasks stand more than {MAX_DEPTH} deep in each other")
    inside = _map(path, given)
    group = GroupNode(path, _title(path, inside), _parallel(path, inside), _options(path, inside, known))
    hooks = group.options.pop("hooks", {})
    group.hooks = {k: _actions(f"{path}._hooks.{k}", several) for k, several in hooks.items()}
    group.children = _several(f"{path}.children", inside.get("children"), depth + 1)
    group.cmds = _actions(f"{path}.cmds", inside.get("cmds"))
    return group


def _several(path: str, given: Any, depth: int, command: bool = False) -> list[Node]:
    if given is None:
        return []
    if not isinstance(given, list | tuple):
        raise DefinitionError(f"{path}: must be a list, not {show(given)}")
    return [_node(f"{path}[{at}]", one, depth, command) for at, one in enumerate(given)]


def _actions(path: str, given: Any) -> list[ActionNode]:
    if isinstance(given, Mapping):
        given = [given]
    return [node for node in _several(path, given, 0, command=True) if isinstance(node, ActionNode)]


def _action(path: str, given: Any, command: bool) -> ActionNode:
    inside = _map(path, given)
    options = _options(path, inside, ACTION)
    inputs = {key: value for key, value in inside.items() if key[:1] != "_"}
    return ActionNode(path, inputs, options, options.pop("whenerror", False), command)


def _map(path: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise DefinitionError(f"{path}: must be a map of keys and values, not {show(given)}")
    for key in given:
        if not isinstance(key, str):
            raise DefinitionError(f"{path}: the key {show(key)} is no text")
    return given


def _title(path: str, inside: Mapping[str, Any]) -> str:
    if "title" not in inside:
        raise DefinitionError(f"{path}: it has no title; an empty one is fine")
    return any_text(path, "title", inside["title"])


def _parallel(path: str, inside: Mapping[str, Any]) -> bool:
    given = {key: _yes_or_no(path, key, inside[key]) for key in ("parallel", "serialsubtasks") if key in inside}
    parallel = given.get("parallel", not given.get("serialsubtasks", True))
    if parallel is given.get("serialsubtasks"):
        raise DefinitionError(
            f"{path}: parallel={parallel} and serialsubtasks={parallel} contradict each other: leave one of them out"
        )
    return parallel


def _options(path: str, inside: Mapping[str, Any], known: Mapping[str, Check]) -> dict[str, Any]:
    """The options by name, without the underscore. None says nothing."""
    options: dict[str, Any] = {}
    for key, value in inside.items():
        if key[:1] != "_":
            continue
        check = known.get(key[1:])
        if check is None:
            raise unknown(path, key, [f"_{option}" for option in known], "option")
        if value is not None:
            options[key[1:]] = check(path, key, value)
    return options


def _check_whole(given: Any, path: str) -> None:
    if getattr(given, "_broken", False):
        raise DefinitionError(f"{path}: an exception has left its `with` block half-way; make it again")


def _elided(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:80]} ... {path[-80:]}"


# Options --------------------------------------------------------------------------------------------------------------


def _yes_or_no(path: str, key: str, value: Any) -> bool:
    """Alfred's files have 0 and 1."""
    return bool(value) if type(value) is int and value in (0, 1) else flag(path, key, value)


def _retry(path: str, key: str, value: Any) -> Any:
    """A `Retry`, its dict, or the number of tries."""
    return Retry(value) if type(value) is int and value >= 1 else JOB_OPTIONS["retry"](path, key, value)


def _hooks(path: str, key: str, value: Any) -> dict[HookKind, Any]:
    if not isinstance(value, Mapping):
        raise fault(path, key, 'a map such as {"failure": [{"Action": {...}}]}', value)
    for kind in value:
        if kind not in HOOK_KINDS:
            raise unknown(path, kind, HOOK_KINDS, "hook")
    return dict(value)


def _moment(path: str, key: str, value: Any) -> Any:
    """JSON has no dates: a text in ISO form stands for one."""
    if not isinstance(value, str):
        return RUN_OPTIONS["not_before"](path, key, value)
    try:
        return RUN_OPTIONS["not_before"](path, key, datetime.fromisoformat(value))
    except ValueError:
        raise fault(path, key, "a time such as 2030-01-31T06:00:00+01:00, or epoch seconds", value) from None


def _of_job(*options: str) -> dict[str, Check]:
    return {option: JOB_OPTIONS[option] for option in options}


INHERITED: dict[str, Check] = {
    **_of_job("role", "timeout", "queue_timeout", "resources", "limits"),
    "retry": _retry,
    "cwd": COMMAND_PARTS["cwd"],
    "env": COMMAND_PARTS["env"],
    "dialect": one_of("", "alfred"),
}
"""Options of actions; what stands on a Job or Task is meant for every action in it."""
ACTION: dict[str, Check] = {
    **INHERITED,
    **_of_job("priority", "on_error", "cache"),
    "name": text,
    "whenerror": _yes_or_no,
}
GROUP: dict[str, Check] = {**INHERITED, **_of_job("on_error"), "hooks": _hooks}
OF_RUN: dict[str, Check] = {
    **{option: check for option, check in RUN_OPTIONS.items() if option not in ("title", "hooks", "groups")},
    "not_before": _moment,
}
"""Options of the run, on the root."""
RUN: dict[str, Check] = {**INHERITED, **OF_RUN, "hooks": _hooks}
_KINDS = frozenset({"Job", "Task", "Action", "Instance"})
