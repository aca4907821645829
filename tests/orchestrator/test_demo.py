"""`make demo-orchestrator` as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

DEMO = Path(__file__).parents[2] / "examples" / "orchestrator" / "demo.py"


def test_the_demo_ends_well_and_leaves_no_process_behind(tmp_path):
    demo = subprocess.Popen(
        [sys.executable, str(DEMO)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    workers: set[psutil.Process] = set()
    deadline = time.monotonic() + 120
    while demo.poll() is None:
        assert time.monotonic() < deadline
        workers.update(psutil.Process(demo.pid).children())
        time.sleep(0.05)
    output, _ = demo.communicate()
    assert demo.returncode == 0, output
    assert "all as it should be" in output
    assert len(workers) == 6, "five workers, and one that was started again"
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_demo_stops_its_workers(tmp_path):
    demo = subprocess.Popen(
        [sys.executable, str(DEMO)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 60
    while len(workers := psutil.Process(demo.pid).children()) < 5:
        assert demo.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(demo.pid, signal.SIGINT)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert psutil.wait_procs(workers, timeout=10)[1] == []
