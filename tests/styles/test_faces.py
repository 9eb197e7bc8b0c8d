"""The face: the names that users type, and what they have to import for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import headrace


@pytest.mark.parametrize(
    "name", ["alfscript.loads", "blocks.Task", "jobmap.run", "steps.Step", "stores.FileStore", "PipelineManager"]
)
def test_importing_headrace_alone_is_enough(name: str) -> None:
    code = f"import headrace; headrace.{name}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_every_name_of_the_face_is_there_and_no_other() -> None:
    assert all(getattr(headrace, name) is not None for name in headrace.__all__)
    with pytest.raises(AttributeError, match="module 'headrace' has no attribute 'Task'"):
        _ = headrace.Task
