"""What is being waited for, on a terminal; nothing where nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show `text` on standard error until left; call what is given with the next stage. It erases itself.

    A terminal that cannot erase (TERM=dumb) gets a line for each.
    """
    console = Console(stderr=True, highlight=False)
    if console.is_dumb_terminal:
        console.print(text)
        yield console.print
        return
    with console.status(text) as status:
        yield status.update
