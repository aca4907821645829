import sys
from pathlib import Path

# Helpers of this folder, of the Pool and of the benchmarks; importlib mode does not find them by itself.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "pool"), str(HERE.parent.parent)]
