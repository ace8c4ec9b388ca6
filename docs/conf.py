"""Sphinx's settings for these pages: `sphinx-build -W docs docs/_build`."""

project = "hubd"
author = "the hubd contributors"
copyright = "the hubd contributors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "hubd"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = True
suppress_warnings = []
