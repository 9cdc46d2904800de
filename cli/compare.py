"""bts-compare: train the models of a comparison and print the paper's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command


def compare(
    recipe: Annotated[str, typer.Argument(help="YAML file, or the name of a comparison that ships.")],
    data: Annotated[Path, typer.Option(help="Store made by bts-prepare.")],
    out: Annotated[Path, typer.Option(help="Folder for runs and tables.")],
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Train this variant only; repeatable.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the comparison; repeatable."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Train several models on the same patients for equally long, and compare them.

    Stop it with Ctrl-C at any moment; the same command goes on. Tables are written after every model.

    \b
    Examples:
      bts-compare compare --data stores/figshare --out comparisons/figshare
      bts-compare compare --data stores/figshare --out comparisons/short --set budget.minutes=5
      bts-compare ablation --data stores/lgg --out comparisons/ablation --only proposed --only no_enhancer
    """
    with one_line_errors(debug):
        from toolkit.workflows.compare import compare as run

        rows, unfinished = run(recipe, data, out, only or (), set_ or ())
        for row in rows:
            warning = "  LEAKS PATIENTS" if row["leaking"] else ""
            typer.echo(f"{row['model']}, seed {row['seed']}: mean Dice {row['dsc']:.3f}{warning}")
        if unfinished:
            typer.echo(f"not finished: {'; '.join(unfinished)}")
        if rows:
            typer.echo(f"tables: {out / 'table3.md'}\nfigure: {out / 'figure6.png'}")


main = single_command(compare)

if __name__ == "__main__":
    main()
