"""``python -m aicli``."""

from aicli.cli.main import main

main()
