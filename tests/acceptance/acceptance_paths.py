"""Where the commands under test are."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
BERTH = PROGRAMS / "berth"
KUBECTL = PROGRAMS / "kubectl"
