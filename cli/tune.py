"""bts-tune: search for the values of a recipe that do best on validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command


def tune(
    search: Annotated[str, typer.Argument(help="YAML file, or the name of a search that ships.")],
    data: Annotated[Path, typer.Option(help="Store made by bts-prepare.")],
    out: Annotated[Path, typer.Option(help="Folder for trials, tables and the best recipe.")],
    trials: Annotated[int | None, typer.Option(min=1, help="How many in all; default: the search's.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the search; repeatable."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Search for better values of a recipe, trial by trial, on the validation patients.

    Stop it with Ctrl-C at any moment; the same command goes on, and --trials makes a finished search longer.
    Trials that fall behind are given up early. The test part is never read.

    \b
    Examples:
      bts-tune figshare --data stores/figshare --out searches/figshare
      bts-tune figshare --data stores/figshare --out searches/figshare --trials 40
      bts-tune mine.yaml --data stores/figshare --out searches/mine --set budget.minutes=10
      bts-train searches/figshare/best.yaml --data stores/figshare --set training.minutes=120
    """
    with one_line_errors(debug):
        from toolkit.workflows.tune import tune as run

        overrides = (*(set_ or ()), *(() if trials is None else (f"trials={trials}",)))
        best, ended = run(search, data, out, overrides)
        values = ", ".join(f"{key}={value}" for key, value in best.values.items())
        typer.echo(f"best of {ended} trials: {best.folder}, Dice {best.dice:.3f} of the validation windows: {values}")
        typer.echo(f"recipe: {out / 'best.yaml'}\ntrials: {out / 'trials.csv'}\npicture: {out / 'tuning.png'}")


main = single_command(tune)

if __name__ == "__main__":
    main()
