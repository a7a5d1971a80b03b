"""Photos to cameras to Gaussians to features to selections to assets.

Layers, top to bottom: `cli` · `stages` · `segment` · `features` · `train` · `capture | formats | render` ·
`scene`. A layer imports only what lies below it; `progress` lies below them all.
"""

import os

from backend.compiled import cache_folder

# Threads that wait must sleep. torch and numba bring an OpenMP pool each; by default the idle pool spins
# and starves the busy one: a call of 0.05 ms took 12 ms on two busy cores. Read when OpenMP loads, so it
# must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# numpy's linear algebra meets small matrices alone here, where its threads cost more than they bring: a colour
# mixture of 3,000 pixels took seven times the processor time with two. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if "NUMBA_CACHE_DIR" not in os.environ:  # read when numba is imported
    os.environ["NUMBA_CACHE_DIR"] = str(cache_folder())

__version__ = "0.1.0"
