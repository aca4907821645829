#!/usr/bin/env bash
# Berth on a kind cluster: the image is built, the chart installed and tested, workers are rolled under load.
# KEEP=1 leaves the cluster; the exit code is 0 only if every Item is held and ready at every step.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv/bin:$PATH"
NAME=${BERTH_KIND_CLUSTER:-berth-demo}

die() { echo "kind-demo: $*" >&2; exit 3; }
command -v docker >/dev/null || die "docker is missing"
docker info >/dev/null 2>&1 || die "no Docker engine answers"
command -v kind >/dev/null || die "kind is missing: https://kind.sigs.k8s.io/docs/user/quick-start/"
HELM=$(command -v helm || python tools/helm_binary.py)

step() { printf '\n== %s\n' "$*"; }
cleanup() { [ -n "${KEEP:-}" ] || kind delete cluster --name "$NAME"; }

# Held and ready replicas of the pool, as "held/ready/wanted".
slots() { kubectl get pool feeds -o jsonpath='{.status.slots.held}/{.status.slots.ready}/{.status.slots.wanted}'; }
wait_complete() {
  for _ in $(seq 120); do
    IFS=/ read -r held ready wanted <<<"$(slots)"
    if [ "${wanted:-0}" -gt 0 ] && [ "$held" = "$wanted" ] && [ "$ready" = "$wanted" ]; then
      echo "every one of $wanted replicas is held and ready"
      return
    fi
    sleep 1
  done
  kubectl berth status
  die "not every replica is held and ready: $(slots)"
}

step "a cluster of four nodes"
trap cleanup EXIT
kind create cluster --name "$NAME" --config examples/kind/cluster.yaml --wait 180s
KUBECONFIG=$(mktemp)
export KUBECONFIG
kind get kubeconfig --name "$NAME" >"$KUBECONFIG"

step "the image"
docker build --quiet --tag berth:kind .
kind load docker-image berth:kind --name "$NAME"

step "the chart, and its own test"
"$HELM" install berth charts/berth --namespace berth-system --create-namespace --set image.tag=kind \
  --set 'workers.bindings[0].namespace=default,workers.bindings[0].serviceAccount=feeds' --wait --timeout 5m
"$HELM" test berth --namespace berth-system --timeout 3m

step "four workers and forty Items"
kubectl apply -f examples/kind/workers.yaml -f examples/demo/
kubectl rollout status deployment/feeds --timeout=180s
wait_complete
kubectl berth status

step "the workers are rolled: each drains before it ends"
kubectl rollout restart deployment/feeds
kubectl rollout status deployment/feeds --timeout=300s
wait_complete

step "a node is drained"
NODE=$(kubectl get pod -l app=feeds -o jsonpath='{.items[0].spec.nodeName}')
kubectl drain "$NODE" --ignore-daemonsets --delete-emptydir-data --timeout=300s
wait_complete

step "the controller is rolled while it leads"
kubectl -n berth-system rollout restart deployment/berth
kubectl -n berth-system rollout status deployment/berth --timeout=180s
wait_complete
kubectl berth status
