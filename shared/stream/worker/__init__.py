"""Consume -> fetch and prepare -> infer -> conclude -> publish -> flush and commit, with the stages overlapped.

One file each: preparing.py, inferring.py, concluding.py, publishing.py, committing.py are the stages; self_test.py asks
whose fault a failure is; threads.py has the pools; worker.py wires them.
"""

from shared.stream.worker.limits import Limits
from shared.stream.worker.publishing import Sink
from shared.stream.worker.worker import Source, Worker

__all__ = ["Limits", "Sink", "Source", "Worker"]
