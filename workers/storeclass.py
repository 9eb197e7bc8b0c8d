"""Which class makes the store: `module:Class`, or `path/to/file.py:Class` for a class that stands in a script."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from ..pipeline.errors import ConfigError


def store_class(target: str) -> Callable[..., Any]:
    """Raises `ConfigError` with what to write instead, or with the traceback of the user's module."""
    place, separator, name = target.rpartition(":")
    if not separator or not place or not name:
        raise ConfigError(f"the store {target!r} has to be given as module:Class or as path/to/file.py:Class")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else import_module(place)
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise ConfigError(f"the store {target!r} cannot be used: {place} has no {name!r}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        text = f"the store {target!r} cannot be used: {reason}\n{traceback.format_exc().rstrip()}"
        raise ConfigError(text) from error
    if not callable(found):
        raise ConfigError(f"the store {target!r} cannot be used: it is a {type(found).__name__}, not a class")
    made: Callable[..., Any] = found
    return made


def _from_file(file: Path) -> ModuleType:
    """A script as a module: under its own name, and only once."""
    file = file.absolute()
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ImportError(f"there is no Python file {file}")
    module = module_from_spec(spec)
    if known is None:
        sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module
