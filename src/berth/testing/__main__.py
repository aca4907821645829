"""`python -m berth.testing`: a control plane from the shell, until SIGTERM or SIGINT."""

import argparse
import signal
import sys
import time
from pathlib import Path

from berth.testing.controlplane import ControlPlane
from berth.testing.errors import ControlPlaneError

_CHECK_SECONDS = 1.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _end(_number: int, _frame: object) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # nothing interrupts the cleaning up
    sys.exit(0)


def main() -> int:
    """Run a control plane; 0 after a signal, 1 with one line on standard error after a failure."""
    parser = argparse.ArgumentParser(
        prog="python -m berth.testing",
        description="Run etcd and kube-apiserver on loopback ports; print `ready`; stop on SIGTERM or SIGINT "
        "and leave nothing behind.",
    )
    add = parser.add_argument
    add("--kubeconfig", type=Path, metavar="FILE", help="the administrator's kubeconfig; removed at the end")
    add("--with-crds", action="store_true", help="apply Berth's kinds and admission policy")
    add("--with-gc", action="store_true", help="run the garbage collector and the namespace controller")
    add("--port", type=int, metavar="N", help="the API server's port; a free one by default")
    arguments = parser.parse_args()

    for number in _SIGNALS:
        signal.signal(number, _end)
    try:
        with ControlPlane(port=arguments.port, kubeconfig=arguments.kubeconfig) as plane:
            if arguments.with_crds:
                plane.apply_crds()
            if arguments.with_gc:
                plane.start_gc()  # after the kinds: it discovers new ones only every 30 seconds
            if arguments.kubeconfig is None:
                print(f"kubeconfig: {plane.kubeconfig}")
            print("ready", flush=True)
            while True:
                time.sleep(_CHECK_SECONDS)
                plane.check()
    except ControlPlaneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
