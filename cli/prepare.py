"""bts-prepare: read, check, split by patient, store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command


class Kind(StrEnum):
    """Sources a store can be made from."""

    figshare = "figshare"
    phantom = "phantom"


def prepare(
    kind: Annotated[Kind, typer.Argument(help="figshare: a folder of .mat files; phantom: made on the spot.")],
    source: Annotated[Path | None, typer.Argument(help="Folder to read (none for phantom).")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the store; must not exist yet.")] = Path("stores/store"),
    seed: Annotated[int, typer.Option(help="Decides the splits (and the phantoms).", min=0)] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files with errors and go on.")] = False,
    patients: Annotated[int, typer.Option(help="Phantom only: how many to make.", min=1)] = 40,
    size: Annotated[int, typer.Option(help="Phantom only: pixels of a slice.", min=16, max=1024)] = 96,
    debug: Debug = False,
) -> None:
    """Read scans, check them, split them by patient and write a store for training.

    \b
    Examples:
      bts-prepare figshare downloads/figshare --out stores/figshare
      bts-prepare phantom --out stores/phantom --patients 40
    """
    with one_line_errors(debug):
        from toolkit.workflows.prepare import prepare as run
        from toolkit.workflows.prepare import summary

        index, findings = run(kind.value, source, out, seed, skip_bad, patients, size)
        for finding in (f for f in findings if f.weight == "error"):
            typer.echo(f"left out: {finding.file}: {finding.message}")
        for name, value in summary(index).items():
            typer.echo(f"{name.replace('_', ' ')}: {value}")
        warnings = sum(finding.weight == "warning" for finding in findings)
        typer.echo(f"findings: {len(findings) - warnings} errors, {warnings} warnings, see {out / 'integrity.html'}")
        typer.echo(f"store: {out}")


main = single_command(prepare)

if __name__ == "__main__":
    main()
