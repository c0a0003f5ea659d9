"""Decoding, the trunk and its heads: the only place, with the four tasks, that imports torch."""

import os

# Read by OpenMP when torch is loaded. Its threads would spin for work while the next batch is being decoded on the same
# cores: with ACTIVE a classification worker on two cores does 26 photos/s instead of 39.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
