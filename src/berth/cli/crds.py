"""`berth crds`: the CRDs and the admission policy as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from berth.cli.options import option
from berth.kinds.manifests import differences, manifests
from berth.kinds.reference import api_reference


def crds_command(
    output: Annotated[Path | None, option("Write each to a file in DIR.", metavar="DIR")] = None,
    check: Annotated[Path | None, option("Exit with 1 if the files in DIR differ.", metavar="DIR")] = None,
    docs: Annotated[
        Path | None, option("Write the API reference; with --check: compare it.", metavar="FILE")
    ] = None,
) -> None:
    """Print the CRDs and the admission policy.

    The policy refuses writes of a replaced leader. Install both with:

        berth crds | kubectl apply -f -
    """
    if output is not None and check is not None:
        raise typer.BadParameter("--output writes and --check compares: give one of them")
    if check is not None:
        _compare(check, docs)
    elif output is None and docs is None:
        typer.echo("---\n".join(manifests().values()), nl=False)
    else:
        files = {docs: api_reference()} if docs is not None else {}
        if output is not None:
            files |= {output / name: text for name, text in manifests().items()}
        _write(files)


def _compare(directory: Path, docs: Path | None) -> None:
    found = differences(directory)
    if docs is not None and (not docs.is_file() or docs.read_text(encoding="utf-8") != api_reference()):
        found.append(f"{docs} differs from what is generated")
    for line in found:
        typer.echo(line, err=True)
    if found:
        raise typer.Exit(1)


def _write(files: dict[Path, str]) -> None:
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"cannot write {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(2) from error
