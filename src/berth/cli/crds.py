"""`berth crds`: the CRDs and the fencing policy as YAML."""

import typer


def crds_command() -> None:
    """Print the CustomResourceDefinitions and the fencing policy, ready for `kubectl apply -f -`."""
    # Imported here because pydantic would slow down the start of every other command.
    from berth.kinds.manifests import manifests

    typer.echo("---\n".join(manifests().values()), nl=False)
