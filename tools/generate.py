"""Writes all generated files: the CRDs, docs/reference/api.md, docs/metrics.md and parts of the Helm chart.

    python tools/generate.py           # write
    python tools/generate.py --check   # exit 1 and name the files that differ

`crds/`: the CRDs and the fencing policy; a file there that is no longer generated is deleted.
`charts/berth/files/`: copies of the CRDs and of the admission policies, and the dashboard.
`charts/berth/values.schema.json` and `README.md`: from values.yaml, whose comments follow helm-docs
(`# --` describes the value below it).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Counter, Gauge, Histogram

from berth.controller.metrics import Metrics
from berth.kinds.crds import HEADER, manifests

sys.path.insert(0, str(Path(__file__).parent))  # a test runs this file by its path

from api_reference import api_reference

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "berth"
CRDS = ROOT / "crds"
BEGIN, END = "<!-- generated: {} -->", "<!-- end of {} -->"


def generated() -> dict[Path, str]:
    """Path to text of every generated file."""
    files = {ROOT / "docs" / "reference" / "api.md": api_reference()}
    for name, text in manifests().items():
        files[CRDS / name] = text
        files[CHART / "files" / ("" if name == "term-fencing.yaml" else "crds") / name] = text
    policy = ROOT / "examples" / "rbac" / "worker-policy.yaml"
    files[CHART / "files" / "worker-policy.yaml"] = policy.read_text()
    files[CHART / "files" / "dashboard.json"] = _json(dashboard())
    files[CHART / "values.schema.json"] = _json(values_schema())
    readme = CHART / "README.md"
    files[readme] = replace_block(readme.read_text(), "values", values_table())
    metrics = ROOT / "docs" / "metrics.md"
    text = replace_block(metrics.read_text(), "metrics", metrics_table())
    files[metrics] = replace_block(text, "alerts", alerts_table())
    return files


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def replace_block(text: str, name: str, content: str) -> str:
    """`text` with what stands between the markers of `name` replaced."""
    begin, end = BEGIN.format(name), END.format(name)
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        raise SystemExit(f"no block {begin} ... {end}")
    return f"{head}{begin}\n{content}\n{end}{tail}"


# ---- values ---------------------------------------------------------------------------------------


def descriptions() -> dict[str, str]:
    """The text of the `# --` comment of each value, by dotted path."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    words: list[str] = []
    for line in (CHART / "values.yaml").read_text().splitlines():
        comment = re.match(r"\s*# (?:-- )?(.*)", line)
        if comment:
            if "# -- " in line:
                words = [comment[1]]
            elif words:
                words.append(comment[1])
            continue
        key = re.match(r"( *)(\w+):", line)
        if not key:
            words = []
            continue
        depth = len(key[1])
        path = [*(p for p in path if p[0] < depth), (depth, key[2])]
        if words:
            found[".".join(name for _, name in path)] = " ".join(words)
            words = []
    return found


def values() -> dict[str, Any]:
    """The chart's default values."""
    loaded: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return loaded


def lookup(path: str) -> Any:
    """The default of a dotted path."""
    value: Any = values()
    for part in path.split("."):
        value = value[part]
    return value


TYPES = {bool: "bool", int: "int", str: "string", list: "list", dict: "object"}


def values_table() -> str:
    """The table of values, as helm-docs writes it."""
    lines = ["| Key | Type | Default | Description |", "|-----|------|---------|-------------|"]
    for path, text in sorted(descriptions().items()):
        default = lookup(path)
        shown = json.dumps(default)
        shown = "see values.yaml" if len(shown) > 60 else f"`{shown}`"
        lines.append(f"| {path} | {TYPES[type(default)]} | {shown} | {text} |")
    return "\n".join(lines)


_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_NAMESPACE = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
_OBJECT = {"type": "object"}
_OBJECTS = {"type": "array", "items": _OBJECT}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$"}
_COUNT_OR_PERCENT = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]}

SCHEMAS: dict[str, dict[str, Any]] = {
    "replicaCount": {"type": "integer", "minimum": 0},
    "watchNamespaces": {"type": "array", "items": _NAMESPACE, "uniqueItems": True},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "imagePullSecrets": _OBJECTS,
    "controller.leaseDurationSeconds": {"type": "number", "minimum": 1},
    "controller.logFormat": {"enum": ["text", "json"]},
    "controller.logLevel": {"enum": ["debug", "info", "warning", "error"]},
    "controller.extraArgs": {"type": "array", "items": {"type": "string"}},
    "controller.env": _OBJECTS,
    "controller.resources": _OBJECT,
    "terminationGracePeriodSeconds": {"type": "integer", "minimum": 1},
    "podDisruptionBudget.maxUnavailable": _COUNT_OR_PERCENT,
    "workers.bindings": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["namespace", "serviceAccount"],
            "properties": {
                "namespace": _NAMESPACE,
                "serviceAccount": {"type": "string", "minLength": 1},
                "create": {"type": "boolean"},
                "annotations": _OBJECT,
            },
        },
    },
    "metrics.port": _PORT,
    "metrics.serviceMonitor.interval": _DURATION,
    "metrics.serviceMonitor.scrapeTimeout": _DURATION,
    "metrics.prometheusRule.disabled": {"type": "array", "items": {"type": "string"}},
    "metrics.prometheusRule.unplacedFor": _DURATION,
    "metrics.prometheusRule.stuckSeconds": {"type": "integer", "minimum": 1},
    "probes.port": _PORT,
    "networkPolicy.apiServerPorts": {"type": "array", "items": _PORT, "minItems": 1},
    "flowSchema.matchingPrecedence": {"type": "integer", "minimum": 2, "maximum": 10000},
    "test.timeoutSeconds": {"type": "integer", "minimum": 1},
}
_INFERRED = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    list: _OBJECTS,
    dict: _OBJECT,
}


def values_schema() -> dict[str, Any]:
    """values.schema.json: every described value and nothing else, so that a misspelt one is an error."""
    known = descriptions()

    def schema(value: Any, path: str) -> dict[str, Any]:
        if path in known:
            return {"description": known[path], **SCHEMAS.get(path, _INFERRED[type(value)])}
        below = {key: schema(child, f"{path}.{key}".lstrip(".")) for key, child in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": below}

    result = schema(values(), "")
    # Helm adds `global` for charts that are part of another one.
    result["properties"]["global"] = _OBJECT
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of Berth", **result}


# ---- metrics --------------------------------------------------------------------------------------


def metrics_table() -> str:
    """All metrics of the controller."""
    lines = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for metric in vars(Metrics()).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            [family] = metric.describe()
            name = family.name + ("_total" if isinstance(metric, Counter) else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
            lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines)


def alerts() -> list[dict[str, Any]]:
    """The chart's alerts, as its defaults render them in namespace `berth-system`."""
    text = (CHART / "files" / "alerts.yaml").read_text()
    text = text.replace("{{ .Release.Namespace }}", "berth-system")
    text = re.sub(r"\{\{ \.Values\.([\w.]+) \}\}", lambda match: str(lookup(match[1])), text)
    text = text.replace("[[", "{{").replace("]]", "}}")
    found: list[dict[str, Any]] = yaml.safe_load(text)["alerts"]
    return found


def alerts_table() -> str:
    """The alerts of the chart."""
    lines = ["| Alert | Severity | When | For |", "|---|---|---|---|"]
    for alert in alerts():
        expression = " ".join(alert["expr"].split()).replace("|", "\\|")
        severity = alert["labels"]["severity"]
        lines.append(f"| `{alert['alert']}` | {severity} | `{expression}` | {alert['for']} |")
    return "\n".join(lines)


# ---- dashboard ------------------------------------------------------------------------------------

POOL = '{namespace=~"$namespace",pool=~"$pool"}'
PANELS: list[tuple[str, str, str, list[tuple[str, str]]]] = [
    # (title, kind, unit, [(expression, legend)])
    ("Leaders", "stat", "short", [("sum(berth_leading)", "")]),
    ("Items", "stat", "short", [(f"sum(berth_items{POOL})", "")]),
    ("Members live", "stat", "short", [(f"sum(berth_members_live{POOL})", "")]),
    ("Items short of replicas", "stat", "short", [(f"sum(berth_items_short{POOL}) or vector(0)", "")]),
    ("Brakes on", "stat", "short", [(f"sum(berth_paused{POOL})", "")]),
    ("Slots", "timeseries", "short", [(f"sum by (state) (berth_slots{POOL})", "{{state}}")]),
    (
        "Load against limit",
        "timeseries",
        "percentunit",
        [
            (
                f'sum by (namespace, pool) (berth_slots{{state="held",{POOL[1:]})'
                f" / sum by (namespace, pool) (berth_limit{POOL})",
                "{{namespace}}/{{pool}}",
            )
        ],
    ),
    (
        "Items waiting",
        "timeseries",
        "short",
        [(f"sum by (reason) (berth_items_waiting{POOL})", "{{reason}}")],
    ),
    (
        "Oldest wait",
        "timeseries",
        "s",
        [(f"time() - min by (reason) (berth_oldest_wait_timestamp_seconds{POOL})", "{{reason}}")],
    ),
    ("Changes", "timeseries", "cps", [(f"sum by (lane) (rate(berth_changes_total{POOL}[5m]))", "{{lane}}")]),
    (
        "Handoffs, median and 95th percentile",
        "timeseries",
        "s",
        [
            (
                f"histogram_quantile({q}, sum by (le, lane) (rate(berth_handoff_seconds_bucket{POOL}[5m])))",
                f"{{{{lane}}}} p{round(q * 100)}",
            )
            for q in (0.5, 0.95)
        ],
    ),
    (
        "Rounds",
        "timeseries",
        "cps",
        [
            (f"sum(rate(berth_rounds_total{POOL}[5m]))", "rounds"),
            (f"sum(rate(berth_rounds_failed_total{POOL}[5m]))", "failed"),
        ],
    ),
    (
        "Time of a round, 95th percentile",
        "timeseries",
        "s",
        [
            (
                f"histogram_quantile(0.95, sum by (le) (rate(berth_{what}_seconds_bucket{POOL}[5m])))",
                what,
            )
            for what in ("queue", "solve", "round")
        ],
    ),
    (
        "Writes by resource",
        "timeseries",
        "reqps",
        [
            (
                'sum by (resource) (rate(berth_requests_total{verb=~"POST|PUT|PATCH|DELETE"}[5m]))',
                "{{resource}}",
            )
        ],
    ),
    (
        "Requests that failed, by code",
        "timeseries",
        "reqps",
        [('sum by (code) (rate(berth_requests_total{code!~"2.."}[5m]))', "{{code}}")],
    ),
    (
        "Watch restarts",
        "timeseries",
        "short",
        [("sum by (resource) (increase(berth_watch_restarts_total[15m]))", "{{resource}}")],
    ),
]


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    panels = []
    x = y = 0
    for number, (title, kind, unit, targets) in enumerate(PANELS, 1):
        width, height = (4, 4) if kind == "stat" else (12, 8)
        if x + width > 24 or (kind != "stat" and y == 0):
            x, y = 0, y + (4 if y == 0 else 8)
        panels.append(
            {
                "id": number,
                "title": title,
                "type": kind,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"x": x, "y": y, "w": width, "h": height},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": "ABCDEFGH"[i], "expr": expr, "legendFormat": legend}
                    for i, (expr, legend) in enumerate(targets)
                ],
            }
        )
        x += width
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        _variable("namespace", "label_values(berth_items, namespace)"),
        _variable("pool", 'label_values(berth_items{namespace=~"$namespace"}, pool)'),
    ]
    return {
        "title": "Berth",
        "uid": "berth",
        "tags": ["berth"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def differing(files: dict[Path, str]) -> list[Path]:
    """The files whose text is not the generated one, and those in crds/ that are no longer generated."""
    wrong = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    outdated = [path for path in CRDS.glob("*.yaml") if path not in files]
    return wrong + [path for path in outdated if path.read_text().startswith(HEADER)]


def main() -> int:
    """Write or check."""
    files, check = generated(), "--check" in sys.argv[1:]
    wrong = differing(files)
    for path in wrong:
        print(path.relative_to(ROOT))
        if check:
            continue
        if path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
        else:
            path.unlink()
    return 1 if wrong and check else 0


if __name__ == "__main__":
    sys.exit(main())
