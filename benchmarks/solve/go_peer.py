"""Gazette's allocator on the same instance: the Go program in `gazette/`, built into the cache once."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.solve.peer import PeerResult, table
from berth.solve.model import Problem
from berth.testing import ControlPlaneError, binaries, build

SOURCE = Path(__file__).parent / "gazette"


class NoGazette(Exception):  # noqa: N818
    """Why there is no program to run, for people."""


def program() -> Path:
    """The program, built if need be. Raises NoGazette where there is no Go or no way to its modules."""
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.read_bytes())
    folder = binaries.cache_root() / f"gazette-{digest.hexdigest()[:12]}"
    peer = build.Program("gazette", SOURCE, ".")
    if shutil.which("go") is None and not (folder / peer.name).exists():
        raise NoGazette("there is no Go on PATH")
    try:
        build.build(lambda: [] if os.access(folder / peer.name, os.X_OK) else [peer], folder, 2)
    except ControlPlaneError as error:
        raise NoGazette(str(error)) from error
    return folder / peer.name


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
