"""The admission policy by which the API server refuses the writes of a replaced leader.

A binding cannot select its parameter by a field of the object. So it selects every Pool of the object's
namespace, and the expression ignores those that the object does not name. The API server reads Pools from its
own cache, about a millisecond behind. A write costs one short expression per Pool of the namespace, measured
as 0.12 ms of CPU.
"""

from typing import Any

from berth.kinds.model import API_VERSION, GROUP, PLURALS, VERSION

FENCING = f"fencing.{GROUP}"
"""The name of the policy and of its binding."""

# Only changes of the spec are judged: the Member writes the status, and the garbage collector ownership and
# finalizers. The generation has already been raised when admission policies run, and comparing it costs the
# same for one entry as for thousands.
_CHANGES_SPEC = "oldObject == null || object.metadata.generation != oldObject.metadata.generation"

_OTHER_POOL = "params.metadata.name != object.spec.pool"
_NO_TERM_YET = "!has(params.status) || !has(params.status.term)"
_NOT_BELOW = "object.spec.term >= params.status.term"


def fencing_policy() -> dict[str, Any]:
    """The ValidatingAdmissionPolicy: `spec.term` of an Assignment is not below its Pool's `status.term`."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": FENCING, "labels": {"app.kubernetes.io/part-of": "berth"}},
        "spec": {
            "failurePolicy": "Fail",
            "paramKind": {"apiVersion": API_VERSION, "kind": "Pool"},
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [PLURALS["Assignment"]],
                        "scope": "Namespaced",
                    }
                ]
            },
            "matchConditions": [{"name": "changes-spec", "expression": _CHANGES_SPEC}],
            "validations": [
                {
                    "expression": f"{_OTHER_POOL} || {_NO_TERM_YET} || {_NOT_BELOW}",
                    "messageExpression": (
                        "'spec.term is ' + string(object.spec.term) + ', but Pool ' + object.spec.pool + "
                        "' is in term ' + string(params.status.term) + ': the writer is no longer "
                        "the leader of the pool'"
                    ),
                    "message": "spec.term is below the Pool's status.term",
                    "reason": "Forbidden",
                }
            ],
        },
    }


def fencing_binding() -> dict[str, Any]:
    """The binding that puts the policy into force in every namespace.

    If the Pool does not exist there is no term to compare with, so the write is allowed.
    """
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": FENCING, "labels": {"app.kubernetes.io/part-of": "berth"}},
        "spec": {
            "policyName": FENCING,
            "validationActions": ["Deny"],
            "paramRef": {"selector": {}, "parameterNotFoundAction": "Allow"},
        },
    }
