"""Benchmarks: `python -m bench` runs all of them; none is ever part of the tests. Faults: `python -m bench.faults`."""

import sys
from pathlib import Path

# The servers that stand for backends, which tests find by pytest's setting of the same path.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "backends"))
