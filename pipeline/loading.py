"""Finding the pipeline that a user names: in a Python file, in a module, or in a file of any other style.

    FILE.py             the one Pipeline in that file, in whatever style it is written
    FILE.py:ATTRIBUTE   that one; a function that returns one is called
    MODULE:ATTRIBUTE    the same, imported from the current folder or an installed package
    any other FILE      what `styles.files` knows, told by its content: the form of `Pipeline.to_dict`, a job file, ...

A file's folder stands first on `sys.path` while it is read and after, as when Python runs a script: its imports work.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import ConfigError, UserError
from .pipeline import Pipeline
from .styles.files import ENDINGS, of_document, read_file
from .styles.stepgraph import heads


def load(target: str | os.PathLike[str], **options: Any) -> Pipeline:
    """The pipeline behind `target`. Raises `ConfigError` or `DefinitionError`, saying what to write.

    `options` are of the style that it is written in: `role` and `priority` of a block job. None says nothing.
    """
    return as_pipeline(find(target), **options)


def as_pipeline(written: Any, **options: Any) -> Pipeline:
    """The pipeline that something stands for, in whatever style it is written; a map is what a JSON file holds."""
    given = {name: value for name, value in options.items() if value is not None}
    if not is_pipeline(written) and isinstance(written, Mapping):
        written = of_document(written)
    if not is_pipeline(written):
        hint = "; to read a file: `headrace submit FILE`, or the `load` of its style" if _is_path(written) else ""
        raise ConfigError(f"a {type(written).__name__} is no pipeline, and nothing that stands for one{hint}")
    if not isinstance(written, Pipeline):
        pipeline: Pipeline = written.to_pipeline(**given)
        return pipeline
    if given:
        raise ConfigError(f"{', '.join(given)}: a Pipeline has that among its own options, or on its jobs")
    return written


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)


def is_pipeline(value: Any) -> bool:
    """A Pipeline, or what a style has in its place: something with a method `to_pipeline`."""
    return isinstance(value, Pipeline) or callable(getattr(type(value), "to_pipeline", None))


def find(target: str | os.PathLike[str]) -> Any:
    """What is behind `target`, as it was written: a Pipeline, or something with a method `to_pipeline`."""
    text = os.fspath(target)
    place, colon, attribute = text.rpartition(":")
    if not colon or os.path.exists(text):
        place, attribute = text, ""
    if place.endswith(".py"):
        module = _read_file(_existing(place))
    elif not attribute and (Path(place).is_file() or place.endswith(ENDINGS)):
        return read_file(_existing(place))
    elif attribute:
        module = _import(place)
    else:
        raise ConfigError(
            f"{text!r} is no pipeline: write FILE.py, FILE.py:ATTRIBUTE, MODULE:ATTRIBUTE, or the name of a file of "
            "another style; there is no such file"
        )
    return _named(module, attribute, place) if attribute else _only(module, place)


def _only(module: ModuleType, place: str) -> Any:
    """The one pipeline of a module; two names of one object are one, and of steps the last one is meant."""
    names: dict[int, str] = {}
    written: dict[int, Any] = {}
    for name, value in vars(module).items():
        if is_pipeline(value):
            names.setdefault(id(value), name)
            written[id(value)] = value
    found = heads(written.values()) or [*written.values()][:1]  # none is last in a circle, which is an error
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"{place} holds no Pipeline: give one a name at the top level of the file, "
            f"or write {place}:NAME for a function that returns one"
        )
    several = [names[id(one)] for one in found]
    raise ConfigError(
        f"{place} holds {len(found)} pipelines ({', '.join(several)}): say which one, {place}:{several[0]}"
    )


def _named(module: ModuleType, attribute: str, place: str) -> Any:
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = _nearest(part, vars(module))
            raise ConfigError(f"{place} has no {attribute!r}" + (f"; did you mean {place}:{near}?" if near else ""))
        value = getattr(value, part)
    if not is_pipeline(value) and callable(value):
        try:
            value = value()
        except UserError:
            raise
        except Exception as error:
            raise ConfigError(f"{place}:{attribute}() failed: {_told(error)}") from error
    if not is_pipeline(value):
        raise ConfigError(
            f"{place}:{attribute} is a {type(value).__name__}, neither a Pipeline nor a function that returns one"
        )
    return value


def _existing(place: str) -> Path:
    path = Path(place).absolute()
    if not path.is_file():
        raise ConfigError(f"there is no file {place}")
    return path


def _read_file(path: Path) -> ModuleType:
    _put_first(path.parent)
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"headrace file {path}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be read as Python")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path} could not be loaded: {_told(error, path)}") from error
    return module


def _import(name: str) -> ModuleType:
    _put_first(Path.cwd())
    try:
        return importlib.import_module(name)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"module {name} could not be imported: {_told(error)}") from error


def _put_first(folder: Path) -> None:
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _told(error: BaseException, path: Path | None = None) -> str:
    """The error in one line, with the line of the user's file that it came through last."""
    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        there = "" if path is not None and error.filename == str(path) else f"{error.filename}, "
        return f"{there}line {error.lineno}: {text}, at `{(error.text or '').strip()}`"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if path and frame.filename == str(path)]
    return f"line {lines[-1].lineno}: {text}" if lines else text


def _nearest(name: str, known: Mapping[str, object]) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(name, [one for one in known if not one.startswith("_")], n=1)
    return near[0] if near else None
