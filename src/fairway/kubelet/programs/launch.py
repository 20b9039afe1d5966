"""Start a program of this package without site packages: `python -I -S launch.py echo [ARGUMENT...]`.

Isolated mode leaves this directory off the module path, so the path to the package is added here by hand.
"""

from __future__ import annotations

import sys


def main() -> None:
    source_root = __file__.rsplit("/", 4)[0]
    sys.path.insert(0, source_root)
    name = sys.argv[1]
    sys.argv[1:2] = []
    module = __import__(f"fairway.kubelet.programs.{name}", fromlist=["main"])
    sys.exit(module.main(sys.argv[1:]))


if __name__ == "__main__":
    main()
