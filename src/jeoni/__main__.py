"""``python -m jeoni``."""

from jeoni.cli.main import run

run()
