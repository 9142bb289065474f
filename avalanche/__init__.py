"""Avalanche: a peer-to-peer install accelerator for clusters.

The language (pure values and functions) is at this level; ``adapters`` wrap the outside world; ``frontend``, ``agent``
and ``cli`` are programs. This module imports nothing, so that an installing host pays for nothing it does not use.
"""

__version__ = "0.1.0"
