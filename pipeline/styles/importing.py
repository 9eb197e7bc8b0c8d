"""Importing modules of one folder, and of no other place.

Job maps name code by dotted names below the current folder. Such a name may mean another file in another folder, and
one process may see several folders in its life (a test, a notebook): a package that was imported from one folder gives
way to that of the next. A name that something else has, a module of Python's for one, is refused.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

_MARK = "__headrace_folder__"
"""Left in a top package that was imported here: it is ours to forget."""


def import_below(folder: Path, name: str) -> ModuleType:
    """The module of this dotted name. Raises ImportError, and whatever the module raises."""
    top = name.partition(".")[0]
    known = sys.modules.get(top)
    if known is not None and not all(_stands_in(sys.modules[one], folder, one) for one in {top, name} & {*sys.modules}):
        if not hasattr(known, _MARK):
            raise ImportError(
                f"{top!r} is the name of another module here ({_place(known)}): give the folder another name"
            )
        _forget(top)
    module = _import(folder, name)
    if not _stands_in(module, folder, name):
        raise ImportError(f"{name!r} is {_place(module)}, and not in {folder}: give it another name")
    if known is None or sys.modules[top] is not known:
        setattr(sys.modules[top], _MARK, str(folder))
    return module


def _import(folder: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _forget(top: str) -> None:
    for name in [one for one in sys.modules if one == top or one.startswith(f"{top}.")]:
        del sys.modules[name]


def _stands_in(module: ModuleType, folder: Path, name: str) -> bool:
    """Is it the package or the file that has this dotted name, seen from the folder?"""
    package = folder.joinpath(*name.split(".")).resolve()
    places = [Path(place).resolve() for place in _places(module)]
    return any(place.is_relative_to(package) or place.with_suffix("") == package for place in places)


def _places(module: ModuleType) -> list[str]:
    file = getattr(module, "__file__", None)
    return [file] if file else list(getattr(module, "__path__", []))


def _place(module: ModuleType) -> str:
    return next(iter(_places(module)), "built in")
