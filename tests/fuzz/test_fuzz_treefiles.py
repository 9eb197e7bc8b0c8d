"""A slice of what `python tests/fuzz/treefiles.py` does by the ten thousand: job files, job maps, namespaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from treefiles import JOB, MAP, TOML, Bending, Namespaces, check_file, check_job_file, check_map, trials

from headrace.pipeline.styles.jobfile import loads_toml


@pytest.fixture
def namespaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespaces:
    monkeypatch.chdir(tmp_path)
    return Namespaces(tmp_path)


def test_what_is_bent_was_right(namespaces: Namespaces) -> None:
    assert check_job_file(json.dumps(JOB)) == check_job_file(TOML, loads_toml) == check_map(MAP) == "read"


@pytest.mark.parametrize("seed", range(3))
def test_every_file_is_read_or_refused_by_an_error_of_its_style(namespaces: Namespaces, seed: int) -> None:
    outcomes = trials(Bending(seed), namespaces, 50)
    for name in ("job file", "job map", "namespace", "job file in TOML"):
        assert outcomes[f"{name} read"] > 2 and outcomes[f"{name} refused"] > 2, outcomes


@pytest.mark.parametrize("text", [json.dumps(JOB), json.dumps(MAP), TOML])
def test_a_file_that_ends_anywhere_is_read_or_refused(namespaces: Namespaces, text: str) -> None:
    path = namespaces.folder.parent / ("file.toml" if text is TOML else "file.json")
    path.write_text(text)
    assert check_file(path) == "read"
    for end in range(0, len(text), 13):
        path.write_text(text[:end])
        check_file(path)


@pytest.mark.parametrize("depth", [101, 5000])
def test_depth_is_refused_and_costs_no_stack(namespaces: Namespaces, depth: int) -> None:
    inside = '{"Task": {"title": "", "children": [' * depth + "]}}" * depth
    assert check_job_file('{"Job": {"title": "", "children": [' + inside + "]}}") == "refused"
    path = namespaces.folder.parent / "deep.json"
    path.write_text('{"tasks": ' + "[" * depth + "]" * depth + "}")
    assert check_file(path) == "refused"
