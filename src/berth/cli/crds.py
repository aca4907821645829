"""`berth crds`: the CRDs and the admission policy as YAML."""

from berth.kinds.crds import manifests


def crds_command() -> None:
    """Print the CRDs and the admission policy.

    The policy refuses writes of a replaced leader. Install both with:

        berth crds | kubectl apply -f -
    """
    print("---\n".join(manifests().values()), end="")
