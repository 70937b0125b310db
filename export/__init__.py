"""A student as a file for the device, checked against the checkpoint that it came from."""

import os

# Read by OpenMP when llama.cpp or torch load it. Threads that spin while they wait are up to 40
# times slower as soon as another process shares the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
