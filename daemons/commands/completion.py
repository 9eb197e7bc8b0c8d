"""`headrace completion`: the text that teaches a shell to complete `headrace`."""

from __future__ import annotations

import click

from .options import command
from .printing import say


@command("completion", 'eval "$(headrace completion bash)"', "headrace completion fish")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that teaches a shell to complete `headrace`."""
    from click.shell_completion import get_completion_class

    from ..cli import commands

    found = get_completion_class(shell)
    assert found is not None, "click knows all three"
    say(found(commands, {}, "headrace", "_HEADRACE_COMPLETE").source())
