"""The folder of what is shipped: prices, machines, digits, the page's template."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"
