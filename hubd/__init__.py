"""hubd keeps a single machine's JupyterHub as its config.yaml says."""

from __future__ import annotations

__version__ = "0.1.0"
