import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# A machine that does other work at the same time must not turn a slow draw into a failure.
settings.register_profile("solve", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("solve")
