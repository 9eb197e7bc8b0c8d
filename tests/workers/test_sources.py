"""Which files are watched: the user's own, wherever they are, and nothing that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_users_files_are_told_and_neither_installed_ones_nor_ours(tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text("import helper, json, msgspec, headrace.workers.catalog\n")
    (tmp_path / "helper.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import workers\n"
        "from headrace.workers.sources import sources\n"
        "print(*sources(['workers', 'later.on'], sys.argv[1]), sep='\\n')"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    names = ["helper.py", "later/on.py", "later/on/__init__.py", "workers.py"]
    assert sorted(told.stdout.split()) == sorted(str(tmp_path.resolve() / name) for name in names)
