"""A stand-in for the go command: answers what a build asks and notes each package it builds.

FAKE_GO_LOG is the file for the notes; no build ends while the file FAKE_GO_GATE is there. FAKE_GO_MODE: `ok`,
`slow` (kube-apiserver takes for ever), `broken` (kube-apiserver does not compile), `full` (no space is
left), `old` (a version that is too old).
"""

import os
import sys
import time
from pathlib import Path

arguments, mode = sys.argv[1:], os.environ.get("FAKE_GO_MODE", "ok")
package = arguments[-1]

if arguments == ["env", "GOVERSION"]:
    print("go1.20.1" if mode == "old" else "go1.99.0")
elif "list" in arguments:
    print("go: downloading example.com/module v1.0.0", file=sys.stderr)
    print("fmt\nexample.com/module\n" + package)
elif "build" in arguments:
    print("fmt\n" + package, file=sys.stderr, flush=True)
    with open(os.environ["FAKE_GO_LOG"], "a") as log:
        log.write(f"{package.rpartition('/')[2]}\n")
    if package.endswith("kube-apiserver"):
        if mode == "slow":
            time.sleep(3600)
        if mode == "broken":
            sys.exit("# k8s.io/kubernetes\nmain.go:1:1: syntax error")
        if mode == "full":
            sys.exit("write /cache/x: no space left on device")
    while os.path.exists(os.environ.get("FAKE_GO_GATE", "")):
        time.sleep(0.02)
    output = Path(arguments[arguments.index("-o") + 1])
    output.write_text("#!/bin/sh\n")
    output.chmod(0o755)
else:
    sys.exit(f"unexpected arguments {arguments}")
