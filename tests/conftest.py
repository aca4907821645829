import sys
from pathlib import Path

# What the tests of several folders share, which importlib mode does not find by itself.
sys.path.insert(0, str(Path(__file__).parent / "shared"))

pytest_plugins = ["berth.testing.plugin"]
