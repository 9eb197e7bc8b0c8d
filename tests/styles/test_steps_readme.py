"""The code of the ancestor's README, as it is printed there, with the import line changed; and our own example."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "example" / "steps"

DECLARE = """
water = BoilWater()
brown_onions = BrownOnions()
cut_tomatoes = CutTomatoes(depends_on=brown_onions)
pour_tomatoes = PourTomatoes(depends_on=[cut_tomatoes, brown_onions])
salt = Salt(depends_on=water)
pasta = PourPasta(depends_on=salt)
basil = PickBasil()
merge = PanFry(depends_on=[pasta, pour_tomatoes, basil])
"""
IMPLEMENT = """
from headrace.steps import Step

class PanFry(Step):
    def run(self, *ingredients):
        pan = pick_pan()
        pan.pour(ingredients)
        pan.blend()
"""
EXECUTE = """
lunch = merge.materialize()
"""
REMEMBER = """
from headrace.steps import Context

ctx = Context()
pour_tomatoes = PourTomatoes(depends_on=[cut_tomatoes, brown_onions], ctx=ctx)
merge = PanFry(depends_on=[pasta, pour_tomatoes, basil])
merge.execution_plan()
"""
AGAIN = """
lunch = merge.materialize()
merge.execution_plan()
"""
REUSE = """
...
pour_tomatoes = PourTomatoes(depends_on=[cut_tomatoes, brown_onions])
salt_water = Salt(depends_on=water, name_alias="SaltWater")
salt_tomatoes = Salt(depends_on=pour_tomatoes, name_alias="SaltTomatoes")
pasta = PourPasta(depends_on=salt_water)
merge = PanFry(depends_on=[pasta, salt_tomatoes, basil])
...
"""
LEGEND = "Execution plan. Result availability: [*] available - [ ] n/a - [x] no context. \n"
FIRST_PLAN = f"""\
{LEGEND}\
                Scheduled execution: (H) head - (>) scheduled run on materialize - ( ) no run required.
 [x] (>) BrownOnions
 [x] (>) CutTomatoes
 [x] (>) BoilWater
 [x] (>) Salt
 [x] (>) PickBasil
 [x] (>) PourTomatoes
 [x] (>) PourPasta
 [x] (H) PanFry
"""
PLAN_WITH_CONTEXT = FIRST_PLAN.replace("[x] (>) PourTomatoes", "[ ] (>) PourTomatoes")
PLAN_AFTER = f"""\
{LEGEND}\
                Scheduled execution: (H) head - (>) scheduled run on materialize - ( ) no run required.
 [x] ( ) BrownOnions
 [x] ( ) CutTomatoes
 [x] (>) BoilWater
 [x] (>) Salt
 [x] (>) PickBasil
 [*] ( ) PourTomatoes
 [x] (>) PourPasta
 [x] (H) PanFry
"""


class Pan:
    def __init__(self) -> None:
        self.inside: list[Any] = []

    def pour(self, ingredients: Any) -> None:
        self.inside += ingredients

    def blend(self) -> None:
        self.inside.append("blended")


def test_the_readme_as_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pans: list[Pan] = []

    def pick_pan() -> Pan:
        pans.append(Pan())
        return pans[-1]

    space: dict[str, Any] = {"pick_pan": pick_pan}
    exec(IMPLEMENT, space)
    for name in ("BoilWater", "BrownOnions", "CutTomatoes", "PourTomatoes", "Salt", "PourPasta", "PickBasil"):
        exec(f"class {name}(Step):\n    def run(self, *outputs): return str(self)", space)
    exec(DECLARE, space)

    space["merge"].execution_plan()
    assert capsys.readouterr().out == FIRST_PLAN
    assert len(space["merge"].dependency_graph().__str__().splitlines()) == 19
    exec(EXECUTE, space)
    assert pans.pop().inside == ["PourPasta", "PourTomatoes", "PickBasil", "blended"]

    exec(REMEMBER, space)
    assert capsys.readouterr().out == PLAN_WITH_CONTEXT
    exec(AGAIN, space)
    assert capsys.readouterr().out == PLAN_AFTER
    exec(f"ctx.store({str(tmp_path / 'path')!r}); ct = Context(); ct = ct.load({str(tmp_path / 'path')!r})", space)
    assert space["ct"].PourTomatoes == "PourTomatoes"

    exec(REUSE, space)
    exec(EXECUTE, space)
    assert pans.pop().inside == ["PourPasta", "SaltTomatoes", "PickBasil", "blended"]


# Our example ----------------------------------------------------------------------------------------------------------

LUNCH = "pasta, onions, tomato, tomato, tomato, basil"


def test_the_example_runs_as_its_readme_says(tmp_path: Path) -> None:
    folder = tmp_path / "steps"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "pantry"))

    def shown(*line: str) -> list[str]:
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.splitlines()

    first = shown(sys.executable, "pasta.py")
    assert first[-1] == LUNCH
    assert "... BrownOnions: slowly" in first
    second = shown(sys.executable, "pasta.py")
    assert second[-1] == LUNCH
    assert " [*] ( ) PourTomatoes" in second
    assert "... BrownOnions: slowly" not in second
    shutil.rmtree(folder / "pantry")
    assert shown(sys.executable, "pasta.py", "processes")[-1] == LUNCH
    assert '    "Salt" -> "PourPasta";' in shown(sys.executable, "-m", "headrace", "dot", "pasta.py")
    assert shown(sys.executable, "-m", "headrace", "run", "pasta.py")[-1].startswith("success after")
