"""Sphinx configuration; `make docs` builds build/docs, readable without a network."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "tools"))

project = "lnsim"
author = "the lnsim authors"
release = version = metadata.version("lnsim")
html_title = f"lnsim {release}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "repository",
    "public",
    "formulas",
]
myst_heading_anchors = 3
exclude_patterns: list[str] = []
smartquotes = False  # a name in quotes is typed as it stands
default_role = "code"  # the docstrings' single backticks are code

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["lnsim.css"]
html_theme_options: dict[str, Any] = {"top_of_page_buttons": [], "navigation_with_keys": True}
html_show_copyright = False
html_copy_source = False
pygments_style = "friendly"
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88

# Nitpicky: every reference must be found. What cannot be is another project's: their inventories
# are on the network, which a build does not use.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(numpy|torch|collections\.abc|pathlib|fractions)\..*"),
    ("py:class", r"lnsim\.lns\.arith\.Array"),  # a type variable: the operand's own class
]
