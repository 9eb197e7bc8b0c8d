"""Fills the parts of the documentation that come from the code.

    python docs/pages.py            write them anew
    python docs/pages.py --check    write nothing; exit code 1 when a page is not current

A page asks for a part with two comments, and what stands between them is replaced:

    <!-- from the code: item states -->
    <!-- end -->
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from diagrams import DIAGRAMS
from proofs import PROOFS
from tables import TABLES

HERE = Path(__file__).parent
PARTS = {**DIAGRAMS, **TABLES, **PROOFS}
_PART = re.compile(r"(<!-- from the code: (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The page, with every part made anew. A part that nothing makes is a KeyError."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}\n{part[3]}", text)


def asked_for(text: str) -> list[str]:
    return [part["name"] for part in _PART.finditer(text)]


def main(check: bool) -> int:
    stale = []
    wanted: set[str] = set()
    for page in sorted(HERE.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        wanted |= set(asked_for(text))
        if (now := filled(text)) != text:
            stale.append(page)
            if not check:
                page.write_text(now, encoding="utf-8")
    for page in stale:
        sys.stdout.write(f"{page.relative_to(HERE.parent)} {'is not current' if check else 'was written anew'}\n")
    if check and stale:
        sys.stdout.write("`python docs/pages.py` writes them anew\n")
    for name in sorted(PARTS.keys() - wanted):
        sys.stdout.write(f"no page asks for {name!r}\n")
    return 1 if PARTS.keys() - wanted or (check and stale) else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
