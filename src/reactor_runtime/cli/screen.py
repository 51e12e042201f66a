"""What a person at the terminal sees, and what ends up in a log when there is no terminal.

On a terminal: a spinner with the elapsed time, panels, colours (rich leaves them out for NO_COLOR and
wraps to the terminal's width). Elsewhere: whole lines, never wrapped, so that a log can be searched.
Everything goes to stderr but the address of a model that is ready, the one result of `reactor run`. Once it
serves, what it says are log records, with their time; with `log_format` json all is, but for a mistake that ends
the start.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer
from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress as Spinner
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..errors import ReactorError, Refused
from ..progress import Progress

if TYPE_CHECKING:
    from ..types import JsonObject

log = logging.getLogger("reactor_runtime")

MISTAKE = 2
FAILURE = 1


def boxed(console: Console, body: str | Text, *, title: str, style: str) -> None:
    """Print a panel on a terminal, the same words as plain lines elsewhere."""
    if console.is_terminal:
        console.print(Panel(Text(body) if isinstance(body, str) else body, title=title, border_style=style))
    else:
        console.print(f"{title}: {body}", soft_wrap=True, markup=False, highlight=False)


@contextmanager
def mistakes(*, verbose: bool = False) -> Iterator[None]:
    """Turn an error of ours into one readable text and an exit status; a traceback only when verbose.

    Anything else is a bug of this package and keeps its traceback.
    """
    try:
        yield
    except ReactorError as error:
        if verbose:
            traceback.print_exc()
        boxed(Console(stderr=True), str(error), title="Error", style="red")
        raise typer.Exit(MISTAKE if isinstance(error, Refused) else FAILURE) from None


class Screen:
    """Shows one server's life. Used on the event loop's thread; log records may come from any thread."""

    def __init__(self, *, verbose: bool, log_format: str = "text") -> None:
        self._json = log_format == "json"
        self.err = Console(stderr=True)
        self.out = Console()
        self._spinner = Spinner(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self.err,
            transient=True,
            disable=self._json or not self.err.is_interactive,
        )
        self._task = self._spinner.add_task("Starting", total=None)
        self._loading = True
        self._last = ""
        self._log = _log_to(self.err, verbose=verbose, as_json=self._json)

    def __enter__(self) -> Self:
        self._spinner.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spinner.stop()
        logging.getLogger().removeHandler(self._log)

    def show(self, progress: Progress) -> None:
        """Show one step. Repeats of a text, as a download reports them, are one line in a log."""
        if self._loading and self.err.is_interactive and not self._json:
            share = "" if progress.fraction is None else f" {progress.fraction:.0%}"
            self._spinner.update(self._task, description=progress.text + share)
        elif (key := f"{progress.step} {progress.text if progress.fraction is None else ''}") != self._last:
            self._last = key
            if self._loading:
                self.say(progress.text, progress.fields)
            else:
                log.info("%s", progress.text, extra={"fields": progress.fields})

    def listening(self, url: str, author_url: str) -> None:
        """Print the author's address, whose page tells how far the load is. It is printed and never logged."""
        if self._json or author_url == url:
            return
        if self.err.is_terminal:
            address = (author_url, f"bold link {author_url}")
            self.err.print(Text.assemble("Open ", address, (" while the model loads", "dim")), soft_wrap=True)
        else:
            self.say(f"Its author opens {author_url} also while it loads, and reads there what it raises.")

    def ready(self, url: str, author_url: str, *, took_s: float) -> None:
        """Print the address: a panel on a terminal, else a line that a script can wait for."""
        self._loading = False
        self._spinner.stop()
        if self._json:
            log.info("ready at %s", url, extra={"fields": {"url": url, "load_s": round(took_s, 1)}})
        if self.out.is_terminal:
            body = Text.assemble(
                ("Open ", ""),
                (author_url, f"bold link {author_url}"),
                (f"\nloaded in {took_s:.1f} s · Ctrl-C stops", "dim"),
            )
            boxed(self.out, body, title="Ready", style="green")
        else:
            self.out.print(f"Ready: {url}", soft_wrap=True, markup=False, highlight=False)
            self.out.file.flush()

    def say(self, text: str, fields: JsonObject | None = None) -> None:
        if self._json:
            log.info("%s", text, extra={"fields": fields or {}})
            return
        self.err.print(text, soft_wrap=True, markup=False, highlight=False)


def _log_to(console: Console, *, verbose: bool, as_json: bool) -> logging.Handler:
    """Send log records to `console`, above a running spinner if there is one."""
    handler: logging.Handler
    if as_json:
        from .log_format import JsonFormatter

        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
    elif console.is_terminal:
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=verbose, log_time_format="%H:%M:%S")
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    return handler
