import sys
from pathlib import Path

# The tests of this folder share helpers, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent))
