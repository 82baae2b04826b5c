"""The docs site: MyST Markdown, built by Sphinx (docs/decisions/0026-docs.md). `make docs` builds it, strictly."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from khw import __version__

project = "khw"
author = "the khw authors"
copyright = author  # noqa: A001 - Sphinx's name for it
version = release = __version__

extensions = ["myst_parser", "from_code"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True
exclude_patterns = ["_build"]

html_theme = "pydata_sphinx_theme"
html_title = "khw"
html_show_sourcelink = False
html_show_copyright = False
html_static_path: list[str] = []
html_theme_options = {
    "show_toc_level": 2,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
