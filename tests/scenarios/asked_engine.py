"""The faulty engines, with a file that shows that a question has reached them."""

import os
from pathlib import Path
from typing import Any

import faulty_engines

from berth.solve import Problem, Tuning


def engine(problem: Problem, tuning: Tuning) -> Any:
    """Answers as the file says, once it is noted that it was asked."""
    asked_file().touch()
    return faulty_engines.engine(problem, tuning)


def asked_file() -> Path:
    return Path(os.environ[faulty_engines.FILE]).with_suffix(".asked")
