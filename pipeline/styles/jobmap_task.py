"""One task of a job map, read and compared with the definition of its method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checks import show
from ..errors import DefinitionError
from ..job import Job
from .aggregate import Aggregate
from .jobmap_fields import Fields, cannot_travel, either, nearest
from .jobmap_methods import Methods
from .namespaces import Method
from .typecheck import fits, value_fits

KINDS = ("input", "function", "output")
FIELDS = ("name", "id", "type", "description")
TEXTS = ("method", "namespace", "consumes", "produces")
FUNCTION_FIELDS = (*FIELDS, *TEXTS, "init_args", "aggregate", "options")
OPTIONS = ("retry", "timeout", "queue_timeout", "role", "resources", "limits", "priority", "cache")


@dataclass(slots=True)
class MapTask:
    """A task. Of one with problems only what is right is here."""

    name: str
    kind: str
    id: str
    namespace: str = ""
    method: str = ""
    consumes: str | None = None
    produces: str | None = None
    init_args: dict[str, Any] = field(default_factory=dict)
    returns: str | None = None
    """What the definition says that it returns."""
    plain: bool = False
    """The source says that it is always one map."""
    aggregate: Aggregate | None = None
    options: dict[str, Any] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)


def read_task(name: str, given: Mapping[str, Any], fields: Fields, methods: Methods) -> MapTask:
    """The task; what is wrong with it is noted in `fields`."""
    task = MapTask(name, "", fields.id(name, given))
    kind = given.get("type")
    if kind not in KINDS:
        told = f"must be {either(KINDS)}, not {show(kind)}" if "type" in given else f"is missing: {either(KINDS)}"
        fields.wrong(name, "type", told)
        return task
    task.kind = kind
    fields.check(name, given, FUNCTION_FIELDS if kind == "function" else FIELDS)
    if kind == "function":
        _read_function(task, given, fields)
        _read_options(task, given, fields)
        if task.namespace and task.method:
            _compare(task, fields, methods)
    return task


def _read_function(task: MapTask, given: Mapping[str, Any], fields: Fields) -> None:
    task.method, task.namespace, consumes, produces = (fields.text(task.name, given, one) for one in TEXTS)
    task.consumes, task.produces = consumes or None, produces or None
    task.init_args = fields.map(task.name, given, "init_args")
    if told := cannot_travel(task.init_args):
        fields.wrong(task.name, "init_args", told)
    if "aggregate" in given:
        try:
            task.aggregate = Aggregate(given["aggregate"])
        except ValueError as error:
            fields.wrong(task.name, "aggregate", str(error))


def _read_options(task: MapTask, given: Mapping[str, Any], fields: Fields) -> None:
    options = fields.map(task.name, given, "options", needed=False)
    fields.check(task.name, options, OPTIONS, "options.")
    for option in OPTIONS:
        if option in options:
            try:
                Job(task.name, **{option: options[option]})
                task.options[option] = options[option]
            except DefinitionError as error:
                fields.wrong(task.name, f"options.{option}", str(error).partition(": ")[2])


def _compare(task: MapTask, fields: Fields, methods: Methods) -> None:
    known = methods.find(task.name, task.namespace, task.method)
    if known is None or known.definition is None:
        return
    task.returns = known.definition.returns
    if known.source is not None:
        task.plain = known.source.returns_map(task.method, takes_map=task.aggregate is None)
    _compare_types(task, known.definition, fields)
    _compare_arguments(task, known.definition, fields)


def _compare_types(task: MapTask, method: Method, fields: Fields) -> None:
    where = f"{task.namespace}.{task.method}"
    if task.consumes is not None and not any(fits(task.consumes, one) for one in method.consumes):
        told = f"{task.consumes!r} is not what {where} consumes: {either(method.consumes)}"
        fields.wrong(task.name, "consumes", told)
    if task.produces is not None and not any(fits(one, task.produces) for one in method.produces):
        told = f"{task.produces!r} is not what {where} produces: {either(method.produces)}"
        fields.wrong(task.name, "produces", told)


def _compare_arguments(task: MapTask, method: Method, fields: Fields) -> None:
    where = f"{task.namespace}.{task.method}"
    known = {one.name: one for one in method.init_args}
    for name in task.init_args:
        if name not in known:
            fields.wrong(task.name, f"init_args.{name}", f"{where} has no such argument{nearest(str(name), known)}")
    for name, argument in known.items():
        place = f"init_args.{name}"
        if name not in task.init_args:
            if argument.required:
                fields.wrong(task.name, place, f"is missing: {where} requires it ({argument.type})")
        elif not value_fits(task.init_args[name], argument.type):
            fields.wrong(task.name, place, f"must be of type {argument.type}, not {show(task.init_args[name])}")
