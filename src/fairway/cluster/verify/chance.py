"""Generated clusters and packets, by seed: the same for the same seed, in every mode and family. Pure."""

from __future__ import annotations

PACKETS = 40
"""How many are drawn for a generated cluster."""
