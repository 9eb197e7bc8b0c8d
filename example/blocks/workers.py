"""Roles: the functions that actions call, with their inputs as keywords."""

from pathlib import Path

from headrace.blocks import role

PICTURES = {"mill": "|#|", "river": "~~~"}


@role("draw")
def draw(scene, number, width=8):
    """One picture of a scene, as text; an unknown scene is an error."""
    line = (PICTURES[scene] * width)[number : number + width]
    file = Path("pictures", f"{scene}-{number}.txt")
    file.write_text(f"{line}\n")
    return {"file": str(file), "width": len(line)}
