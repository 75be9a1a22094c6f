"""What all commands share: output to the terminal, error messages, and exit statuses."""

from __future__ import annotations

import json
import os
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from radon_numpyro.data.findings import DataWarning, in_options
from radon_numpyro.inference.compute.compilation import set_exit_status

if TYPE_CHECKING:
    import pandas as pd

GOOD, BAD_INPUT, NOT_TRUSTED, INTERRUPTED = 0, 2, 3, 130


@dataclass(frozen=True)
class Terminal:
    """Results go to standard output; progress, notes and errors to standard error.

    Attributes
    ----------
    quiet
        Print only errors.
    as_json
        Print one JSON object instead of text.
    """

    quiet: bool = False
    as_json: bool = False
    out: Console = field(default_factory=Console)
    err: Console = field(default_factory=lambda: Console(stderr=True))

    @property
    def progress_bar(self) -> bool:
        """Whether progress bars are requested; they are shown only on a terminal."""
        return not self.quiet

    def note(self, text: str) -> None:
        """Print a note on progress to standard error.

        Parameters
        ----------
        text
            A line.
        """
        if not self.quiet:
            self.err.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def working(self, done: str) -> Iterator[None]:
        """Print warnings as they occur, and the elapsed time at the end.

        Findings about the data are not printed here, because the verdict lists them.

        Parameters
        ----------
        done
            The work as a participle, such as ``"Fitted"``.
        """
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter("ignore", DataWarning)
            warnings.showwarning = lambda message, *_, **__: self.note(f"Warning: {message}")
            yield
        self.note(f"{done} in {time.perf_counter() - started:.1f} s.")

    def show(self, result: Any) -> None:
        """Print a part of the result to standard output.

        Parameters
        ----------
        result
            Text or a table.
        """
        if not (self.quiet or self.as_json):
            text = isinstance(result, str)
            if isinstance(result, Table):
                # Rich would truncate labels and numbers; a narrow terminal wraps the lines instead.
                unbounded = self.out.options.update(width=1000)
                least = self.out.measure(result, options=unbounded).minimum
                result.width = least if least > self.out.width else None
            self.out.print(result, markup=not text, highlight=False, soft_wrap=text, crop=False)

    def finish(self, record: Mapping[str, Any], *, good: bool) -> None:
        """Print the JSON record if it is requested, and exit.

        Parameters
        ----------
        record
            The result for ``--json``.
        good
            Whether the result can be trusted; this determines the exit status.
        """
        if self.as_json and not self.quiet:
            print(json.dumps({"ok": good, **record}, indent=2, allow_nan=False, default=_plain))
        status = GOOD if good else NOT_TRUSTED
        set_exit_status(status)
        raise typer.Exit(status)


def _plain(value: Any) -> Any:
    """Convert numbers of NumPy, and paths, for JSON."""
    return value.item() if hasattr(value, "item") else str(value)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn errors about input into one line and the exit status of bad input.

    The package's own messages begin with "Expected". Other exceptions, except OSError, are bugs and
    keep their traceback.
    """
    try:
        yield
    except (ValueError, TypeError, ImportError, FloatingPointError, OSError) as error:
        own = str(error).startswith("Expected")
        if not own and not isinstance(error, OSError):
            raise
        _print_error(f"Error: {in_options(str(error))}")
        set_exit_status(BAD_INPUT)
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt as error:
        what = str(error).removeprefix("interrupted ") or "nothing is written"
        _print_error(f"Interrupted: {in_options(what)}")
        set_exit_status(INTERRUPTED)
        raise typer.Exit(INTERRUPTED) from None


def _print_error(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def command_line(context: typer.Context) -> str:
    """Return the command as it was typed, quoted for a shell.

    Parameters
    ----------
    context
        The context of the running command.
    """
    words = ["radon-numpyro", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(one)]
    return shlex.join(words)


def table(title: str, frame: pd.DataFrame) -> Table:
    """Format a data frame for the terminal.

    Parameters
    ----------
    title
        The title above the table.
    frame
        The rows and columns.
    """
    from radon_numpyro.data.digits import texts_of

    shown = Table(title=escape(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("", overflow="fold")
    for column in frame.columns:
        shown.add_column(escape(str(column)), justify="right", no_wrap=True)
    for name, values in frame.iterrows():
        # Rich would read labels such as mu_beta[floor] as markup.
        texts = texts_of({str(column): v for column, v in values.items()})
        shown.add_row(escape(str(name)), *map(escape, texts.values()))
    return shown


def plain(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Convert a data frame for JSON: one object for each row, with null for missing numbers.

    Parameters
    ----------
    frame
        The data frame; its index becomes the keys.
    """
    import pandas as pd

    return {
        str(row): {str(k): None if pd.isna(v) else v for k, v in values.items()}
        for row, values in frame.to_dict(orient="index").items()
    }


def use_compilation_cache() -> Path | None:
    """Keep compiled programs between runs in the user's cache folder.

    ``JAX_COMPILATION_CACHE_DIR`` names another folder; ``JAX_ENABLE_COMPILATION_CACHE=false``
    disables the cache.

    Returns
    -------
    pathlib.Path or None
        The folder; None if the cache is disabled.
    """
    import jax

    if not jax.config.jax_compilation_cache_dir:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(base / "radon-numpyro" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if not jax.config.jax_enable_compilation_cache:
        return None
    return Path(jax.config.jax_compilation_cache_dir)
