"""What the documentation takes from the code is current, and nothing that it should take is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts of `docs` can be imported, as they import each other."""
    monkeypatch.syspath_prepend(str(DOCS))


def test_every_page_is_current() -> None:
    line = [sys.executable, str(DOCS / "pages.py"), "--check"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_part_that_is_out_of_date_is_made_anew(scripts: None) -> None:
    from pages import asked_for, filled

    page = "before\n<!-- from the code: exit codes -->\nold\n<!-- end -->\nafter\n"
    assert asked_for(page) == ["exit codes"]
    now = filled(page)
    assert "old" not in now
    assert now.startswith("before\n") and now.endswith("<!-- end -->\nafter\n")
    assert "| `124` |" in now
    assert filled(now) == now


def test_a_part_that_nothing_makes_is_an_error(scripts: None) -> None:
    from pages import filled

    with pytest.raises(KeyError):
        filled("<!-- from the code: nonsense -->\n<!-- end -->\n")


def test_every_table_of_steps_is_drawn() -> None:
    drawn = (DOCS / "diagrams.py").read_text()
    for file in [*ROOT.glob("pipeline/*.py"), *ROOT.glob("daemons/**/*.py"), *ROOT.glob("workers/**/*.py")]:
        for table in re.findall(r"^(\w*STEPS)\b.*= {", file.read_text(), re.MULTILINE):
            assert f"{file.stem}.{table}" in drawn, f"{file.relative_to(ROOT)} has a table of steps that no page shows"


def test_a_diagram_has_an_arrow_per_step_and_joins_what_leads_the_same_way(scripts: None) -> None:
    from diagrams import diagram

    steps = {("off", "press"): "warming up", ("off", "call"): "warming up", ("warming up", "wait"): "off"}
    assert diagram(steps, str).splitlines() == [
        "```mermaid",
        "stateDiagram-v2",
        '    state "warming up" as warming_up',
        "    off --> warming_up: press, call",
        "    warming_up --> off: wait",
        "```",
    ]


def test_every_command_message_and_setting_is_in_the_reference() -> None:
    from headrace.daemons import config, protocol
    from headrace.daemons.cli import MODULES

    reference = {page.stem: page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md")}
    for name in MODULES:
        assert f"### headrace {name}\n" in reference["command-line"]
    for kind in (*protocol.ToRouter.__args__, *protocol.FromRouter.__args__):
        assert f"| `{kind.__name__}` |" in reference["wire"]
    for section in config.SECTIONS:
        for one in config.fields_of(section):
            assert f"| `{one.key}` | `{config.variable(one.name)}` |" in reference["configuration"]
