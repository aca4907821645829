import sys
from pathlib import Path

# The tests of this folder share helpers with those of the fleet; importlib mode does not find them by itself.
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fleet")]
