"""``python -m avalanche``."""

from avalanche.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
