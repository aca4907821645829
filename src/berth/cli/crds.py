"""`berth crds`: the CRDs and the fencing policy as YAML."""

from pathlib import Path
from typing import Annotated

import typer


def crds_command(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Write one file for each into DIR.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="DIR", help="Exit 1 when the files in DIR differ.")
    ] = None,
    docs: Annotated[
        Path | None,
        typer.Option("--docs", metavar="FILE", help="Write the API reference (with --check: compare it)."),
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions and the fencing policy, ready for `kubectl apply -f -`."""
    from berth.kinds.manifests import manifests

    if output is not None and check is not None:
        raise typer.BadParameter("--output writes and --check compares: give one of them")
    if check is not None:
        _compare(check, docs)
    elif output is None and docs is None:
        typer.echo("---\n".join(manifests().values()), nl=False)
    else:
        _write(output, docs)


def _compare(directory: Path, docs: Path | None) -> None:
    from berth.kinds.manifests import differences
    from berth.kinds.reference import api_reference

    found = differences(directory)
    if docs is not None and (not docs.is_file() or docs.read_text(encoding="utf-8") != api_reference()):
        found.append(f"{docs} differs from what is generated")
    for line in found:
        typer.echo(line, err=True)
    if found:
        raise typer.Exit(1)


def _write(directory: Path | None, docs: Path | None) -> None:
    from berth.kinds.manifests import manifests
    from berth.kinds.reference import api_reference

    files = {docs: api_reference()} if docs is not None else {}
    if directory is not None:
        files |= {directory / name: text for name, text in manifests().items()}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"cannot write {error.filename}: {error.strerror}", err=True)
        raise typer.Exit(2) from error
