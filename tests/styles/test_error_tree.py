"""Every exception of ours, of whatever style, stands in the drawing that users read."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import headrace
from headrace.pipeline import errors


def every_module() -> Iterator[str]:
    for folder in ("pipeline", "workers", "stores"):
        package = importlib.import_module(f"headrace.{folder}")
        for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not one.name.endswith(("mongo", "jobfile_schema", "__main__")):
                yield one.name


def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for one in kind.__subclasses__():
        yield one
        yield from below(one)


def test_the_drawing_has_every_exception_under_the_one_it_is_a_case_of() -> None:
    for name in every_module():
        importlib.import_module(name)
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ]*(?:[├└]── )?)(\w+)( |$)", line)
        if found is not None:
            del above[len(found[1]) // 4 :]
            drawn[found[2]] = above[-1] if above else ""
            above.append(found[2])
    ours = {one for one in below(headrace.HeadraceError) if one.__module__.startswith("headrace.")}
    assert {one.__name__: one.__mro__[1].__name__ for one in ours} | {"HeadraceError": ""} == drawn


def test_every_style_has_its_errors_where_its_names_are() -> None:
    from headrace import alfscript, jobmap, steps

    for one in (alfscript.AlfscriptError, jobmap.JobMapError, jobmap.JobMapFailed, steps.StepFailed):
        assert issubclass(one, headrace.HeadraceError)
    assert issubclass(alfscript.AlfscriptError, ValueError) and issubclass(jobmap.JobMapError, ValueError)
