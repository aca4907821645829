import sys
from pathlib import Path

# The tests of this folder share helpers, which importlib mode does not find by itself; the tests of the
# mutations run those of the neighbours.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "controller")]
