"""What the chart renders, judged without a cluster."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from charting import EVERYTHING
from prometheus_client import Counter, Gauge, Histogram

from berth.controller.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "berth"
GENERATE = runpy.run_path(str(ROOT / "tools" / "generate.py"))


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == kind]


def test_what_is_generated_is_up_to_date() -> None:
    differing = GENERATE["differing"](GENERATE["generated"]())
    assert not differing, "run `make crds`"


def test_every_value_is_described() -> None:
    known = set(GENERATE["descriptions"]())

    def leaves(value: Any, path: str) -> list[str]:
        if path in known:
            return []
        if isinstance(value, dict) and value:
            return [
                leaf for key, below in value.items() for leaf in leaves(below, f"{path}.{key}".lstrip("."))
            ]
        return [path]

    assert leaves(GENERATE["values"](), "") == []


def test_helm_lint_reports_nothing(helm: Any) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), values=EVERYTHING)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replicaCont": 2}, "replicaCont"),
        ({"controller": {"logFormat": "xml"}}, "logFormat"),
        ({"watchNamespaces": ["Not A Namespace"]}, "watchNamespaces"),
        ({"metrics": {"port": 70000}}, "port"),
        ({"workers": {"bindings": [{"namespace": "a"}]}}, "serviceAccount"),
        ({"image": {"digest": "latest"}}, "digest"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Any, values: dict[str, Any], complaint: str) -> None:
    said = helm("template", "x", str(CHART), values=values, check=False)
    assert "don't meet the specifications of the schema" in said
    assert complaint in said


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (
            {"metrics": {"service": False, "serviceMonitor": {"enabled": True}}},
            "serviceMonitor.enabled needs metrics.service",
        ),
        (
            {"watchNamespaces": ["a"], "workers": {"bindings": [{"namespace": "b", "serviceAccount": "w"}]}},
            "namespace b is not one of watchNamespaces",
        ),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is required"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    helm: Any, values: dict[str, Any], complaint: str
) -> None:
    assert complaint in helm("template", "x", str(CHART), values=values, check=False)


def test_namespaced_mode_asks_for_no_right_beyond_its_namespaces(helm: Any) -> None:
    objects = helm.template({"watchNamespaces": ["a", "b"], "rbac": {"aggregate": False}})
    assert not of_kind(objects, "ClusterRole")
    assert not of_kind(objects, "ClusterRoleBinding")
    where = {(o["metadata"]["name"], o["metadata"]["namespace"]) for o in of_kind(objects, "Role")}
    assert {w for w in where if not w[0].endswith("-test")} == {
        ("berth-controller", "a"),
        ("berth-controller", "b"),
        ("berth-worker", "a"),
        ("berth-worker", "b"),
        ("berth-leader", "berth-system"),
    }
    [deployment] = of_kind(objects, "Deployment")
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[:3] == ["controller", "--namespace=a", "--namespace=b"]


def test_no_role_has_a_wildcard_or_reads_secrets(helm: Any) -> None:
    objects = helm.template(EVERYTHING)
    rules = [rule for kind in ("Role", "ClusterRole") for o in of_kind(objects, kind) for rule in o["rules"]]
    assert rules
    for rule in rules:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert not {"secrets", "configmaps", "pods", "nodes"} & set(rule["resources"])


def test_workers_get_the_rights_of_the_documented_role(helm: Any) -> None:
    documents = yaml.safe_load_all((ROOT / "examples" / "rbac" / "worker-rbac.yaml").read_text())
    [documented] = [d for d in documents if d["kind"] == "Role"]
    [role] = [o for o in of_kind(helm.template(), "ClusterRole") if o["metadata"]["name"] == "berth-worker"]
    assert role["rules"] == documented["rules"]


def test_pods_satisfy_the_restricted_security_standard(helm: Any) -> None:
    objects = helm.template()
    [deployment] = of_kind(objects, "Deployment")
    pods = [deployment["spec"]["template"]["spec"], *(p["spec"] for p in of_kind(objects, "Pod"))]
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_problems_can_be_saved_where_the_root_is_read_only(helm: Any) -> None:
    def pod(read_only: bool) -> dict[str, Any]:
        values = {"securityContext": {"readOnlyRootFilesystem": read_only}}
        spec: dict[str, Any] = of_kind(helm.template(values), "Deployment")[0]["spec"]["template"]["spec"]
        return spec

    mounts = pod(True)["containers"][0]["volumeMounts"]
    assert mounts == [{"name": "tmp", "mountPath": "/tmp"}]
    assert pod(True)["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert "volumes" not in pod(False)


def test_a_single_replica_has_no_disruption_budget_that_would_block_a_drain(helm: Any) -> None:
    assert of_kind(helm.template(), "PodDisruptionBudget")
    assert not of_kind(helm.template({"replicaCount": 1}), "PodDisruptionBudget")


def test_replicas_are_spread_by_the_selector_of_the_deployment(helm: Any) -> None:
    [deployment] = of_kind(helm.template(), "Deployment")
    selector = deployment["spec"]["selector"]
    constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {c["topologyKey"] for c in constraints} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert all(c["labelSelector"] == selector for c in constraints)


def test_crds_are_kept_unless_asked_otherwise(helm: Any) -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    crds = of_kind(helm.template(), "CustomResourceDefinition")
    assert len(crds) == 4
    assert all(crd["metadata"]["annotations"] == keep for crd in crds)
    loose = of_kind(helm.template({"crds": {"keep": False}}), "CustomResourceDefinition")
    assert all("annotations" not in crd["metadata"] for crd in loose)
    assert not of_kind(helm.template({"crds": {"install": False}}), "CustomResourceDefinition")


def exported() -> dict[str, tuple[set[str], str]]:
    """Series name to its labels and type."""
    found: dict[str, tuple[set[str], str]] = {}
    for metric in vars(Metrics()).values():
        if not isinstance(metric, Counter | Gauge | Histogram):
            continue
        [family] = metric.describe()
        labels = set(metric._labelnames)
        if isinstance(metric, Counter):
            found[f"{family.name}_total"] = (labels, "counter")
        elif isinstance(metric, Histogram):
            found[f"{family.name}_bucket"] = (labels | {"le"}, "counter")
        else:
            found[family.name] = (labels, "gauge")
    return found


def selectors(expression: Any) -> list[Any]:
    """All vector selectors of a parsed PromQL expression."""
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    if isinstance(expression, promql_parser.MatrixSelector):
        return [expression.vector_selector]
    below = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "param")]
    below += list(getattr(expression, "args", ()) or ())
    return [s for e in below if e is not None for s in selectors(e)]


def expressions() -> list[str]:
    panels = GENERATE["dashboard"]()["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    found += [alert["expr"] for alert in GENERATE["alerts"]()]
    docs = (ROOT / "docs" / "metrics.md").read_text().partition("## Questions and queries")[2]
    queries = [text.replace("\n", " ") for text in docs.split("`")[1::2]]
    return found + [query for query in queries if "(" in query]


@pytest.mark.parametrize("expression", expressions())
def test_alerts_dashboard_and_docs_ask_for_series_that_exist(expression: str) -> None:
    known = exported()
    parsed = promql_parser.parse(expression)
    asked = selectors(parsed)
    assert asked or "vector" in expression
    for selector in asked:
        assert selector.name in known
        labels, _ = known[selector.name]
        # `namespace` is also what a scrape says of a series that has none itself.
        assert {m.name for m in selector.matchers.matchers} <= labels | {"namespace"}


def test_the_alerts_that_a_platform_team_needs_are_there(helm: Any) -> None:
    [rule] = of_kind(helm.template(EVERYTHING), "PrometheusRule")
    [group] = rule["spec"]["groups"]
    assert {r["alert"] for r in group["rules"]} >= {
        "BerthItemsUnplaced",
        "BerthRoundsFailing",
        "BerthNoLeader",
        "BerthBrakeOn",
        "BerthHandoffsStuck",
    }
    for r in group["rules"]:
        promql_parser.parse(r["expr"])
        assert r["annotations"]["summary"]
        assert "[[" not in r["annotations"]["description"]
    values = {
        "metrics": {
            "prometheusRule": {"enabled": True, "disabled": ["BerthBrakeOn"], "alertLabels": {"team": "x"}}
        }
    }
    [rule] = of_kind(helm.template(values), "PrometheusRule")
    assert "BerthBrakeOn" not in {r["alert"] for r in rule["spec"]["groups"][0]["rules"]}
    assert all(r["labels"]["team"] == "x" for r in rule["spec"]["groups"][0]["rules"])
