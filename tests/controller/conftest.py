import sys
from pathlib import Path

# Helpers of this folder, of the fleet and of the benchmarks; importlib mode does not find them by itself.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fleet"), str(HERE.parent.parent)]
