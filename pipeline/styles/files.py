"""Files that are no Python: which style one is written in, told by its content, and by its name where that is silent.

Every style of a file stands in one table: the endings that belong to it, how its content is recognised, and who reads
it. A reader is given the content and returns a Pipeline, or something with a method `to_pipeline`; it is imported when
it is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError, DefinitionError

LARGEST = 64 * 1024 * 1024
"""Bytes of a file that is read."""


class Form(NamedTuple):
    """A way to write a pipeline in a file."""

    name: str
    endings: tuple[str, ...]
    fits: Callable[[Any], bool]
    """Is this content of that form? The content is what JSON has made of it, or the text if it is none."""
    reader: str
    """`module:function`, below this package; the function takes the content."""
    wants_path: bool = False
    """It takes the path of the file too: other files stand beside it."""


def _has(*keys: str) -> Callable[[Any], bool]:
    """One of these keys: whatever else is missing, or misspelt, is for the reader to tell."""
    return lambda content: isinstance(content, dict) and any(key in content for key in keys)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, str) and re.search(pattern, content, re.MULTILINE) is not None


KEYS = 'in JSON, a job file has the key "Job", a job map "tasks", and a pipeline "jobs"'
FORMS = (
    Form("job file", (), _has("Job"), "jobfile:from_document"),
    Form("job map", (), _has("tasks", "datasource", "workflow"), "jobmap:of_map", wants_path=True),
    Form("pipeline", (".json",), _has("jobs", "edges", "version"), "files:from_document"),
    Form("job file in TOML", (".toml",), _matches(r"^\s*\[+\s*Job\b"), "jobfile:loads_toml"),
    Form(
        "Alfred script",
        (".alf", ".alfscript", ".jobscript"),
        _matches(r"^\s*(##\s*AlfredToDo|Job\s*($|[-{\\]))"),
        "alfscript:loads",
        wants_path=True,
    ),
)
ENDINGS = tuple(ending for form in FORMS for ending in form.endings)


def read_file(path: Path) -> Any:
    """What is written in a file. Raises `ConfigError` or `DefinitionError`, both naming it."""
    content = _content(path)
    form = form_of(content, path.suffix.lower())
    if form is None:
        names = KEYS if not isinstance(content, str) else ", ".join(one.name for one in FORMS)
        raise ConfigError(f"{path} is of no form that is known here: {names}")
    read = _reader(form)
    try:
        return read(content, path) if form.wants_path else read(content)
    except DefinitionError as error:
        if type(error) is not DefinitionError:
            raise  # it has more to say than its text
        raise DefinitionError(f"{path}: {error}") from None


def of_document(document: Any) -> Any:
    """What a map stands for that JSON could have made of a file. Files that it names stand in the current folder."""
    form = form_of(document)
    if form is None:
        raise ConfigError(f"a map of no form that is known here: {KEYS}")
    return _reader(form)(document, Path(form.name)) if form.wants_path else _reader(form)(document)


def form_of(content: Any, ending: str = "") -> Form | None:
    """The form of a content; where a text does not say, that of the file's ending. None for one that nobody knows."""
    for form in FORMS:
        if form.fits(content):
            return form
    if not isinstance(content, str):
        return None
    return next((form for form in FORMS if ending in form.endings), None)


def _reader(form: Form) -> Callable[..., Any]:
    module, _, function = form.reader.partition(":")
    reader: Callable[..., Any] = getattr(import_module(f".{module}", __package__), function)
    return reader


def from_document(document: Any) -> Any:
    """The form of `Pipeline.to_dict`."""
    from ..pipeline import Pipeline

    return Pipeline.from_dict(document)


def parse_json(text: str | bytes) -> Any:
    """What JSON makes of a text; a key that stands twice in one map is refused, for one of the two would be lost."""
    try:
        return json.loads(text, object_pairs_hook=_map)
    except DefinitionError:
        raise
    except (ValueError, RecursionError) as error:
        raise DefinitionError(f"not JSON: {error}") from None


def _map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DefinitionError(f"the key {twice!r} stands twice in the map that begins {str(made)[:60]}")
    return made


def _content(path: Path) -> Any:
    """What JSON has made of the file's text; the text, if it does not even begin like JSON."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} has more than {LARGEST // 2**20} MiB: that is no pipeline that a person wrote")
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if path.suffix.lower() != ".json" and not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text, object_pairs_hook=_map)
    except DefinitionError as error:
        raise DefinitionError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
