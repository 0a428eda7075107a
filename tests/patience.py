"""How long a test waits before it counts as hanging: no test may fail because a machine is busy."""

PATIENCE = 1800  # seconds
