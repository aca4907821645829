"""Gazette's allocator on the same instance: the Go program in `gazette/`, built into the cache once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.solve.peer import PeerResult, table
from berth.solve.model import Problem
from berth.testing import binaries, build
from berth.testing.errors import ControlPlaneError
from berth.testing.processes import Processes
from berth.testing.progress import Progress

SOURCE = Path(__file__).parent / "gazette"


class NoGazette(Exception):  # noqa: N818
    """Why there is no program to run, for people."""


def program() -> Path:
    """The program, built if need be. Raises NoGazette where there is no Go or no way to its modules."""
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.read_bytes())
    root = binaries.cache_root()
    target = root / f"gazette-{digest.hexdigest()[:12]}"
    if os.access(target, os.X_OK):
        return target
    go = shutil.which("go")
    if go is None:
        raise NoGazette("there is no Go on PATH")
    progress, scratch = Progress(), root / "build-gazette"
    try:
        with build.only_one(root, progress), contextlib.closing(Processes()) as processes:
            if not target.exists():
                (scratch / "tmp").mkdir(parents=True, exist_ok=True)
                variables = build.go_environment(scratch, os.environ)
                binary = scratch / "tmp" / "gazette"
                argv = [go, "-C", str(SOURCE), "build", "-v", "-o", str(binary), "."]
                progress.step("building Gazette's allocator: once, about two minutes")
                build.run_go(processes, argv, variables, progress, "gazette", 0)
                binary.replace(target)
                shutil.rmtree(scratch, ignore_errors=True)
    except (ControlPlaneError, OSError) as error:
        raise NoGazette(str(error)) from error
    finally:
        progress.close()
    return target


def solve_gazette(binary: Path, problem: Problem, runs: int = 1) -> PeerResult:
    """Median seconds of observing and solving, and the plan; Members that drain have a limit of 0."""
    n, width = problem.held.shape
    columns = (
        np.array([runs, n, len(problem.limit), width]),
        problem.replicas,
        np.where(problem.draining, 0, problem.limit),
        problem.zone,
        problem.live,
        problem.held.ravel(),
    )
    data = b"".join(np.asarray(column).astype("<i4").tobytes() for column in columns)
    done = subprocess.run([binary], input=data, capture_output=True, check=False, timeout=120)
    if done.returncode:
        return PeerResult(0.0, None, done.stderr.decode(errors="replace").strip().splitlines()[-1][:60])
    seconds = struct.unpack(f"<{runs}d", done.stdout[: 8 * runs])
    pairs = np.frombuffer(done.stdout, dtype="<i4", offset=8 * runs).reshape(-1, 2).astype(np.int64)
    return PeerResult(float(np.median(seconds)), table(pairs[:, 0], pairs[:, 1], problem))
