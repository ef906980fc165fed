"""Settings of the documentation; ``make docs`` builds it, warnings are errors."""

import importlib.metadata
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_order

# the scripts' matrices are small: a second thread would wait more than it works
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "neurotheory-sandbox"
author = "The neurotheory-sandbox developers"
copyright = author
release = importlib.metadata.version(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "gallery/GALLERY_HEADER.rst"]
templates_path = ["_templates"]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
# two names that differ in case only would share a file on some systems
autosummary_filename_map = {
    "deeplinear.teacher.teacher": "deeplinear.teacher.teacher_function",
    "synapses.brian.costa2015": "synapses.brian.costa2015_function",
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": "../scripts",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_\w+\.py$",
    "within_subsection_order": "gallery_order.ReadingOrder",
    "image_srcset": ["2x"],
    "thumbnail_size": (800, 400),
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_show_sourcelink = False
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"*": ["page-toc"], "derivations/*": ["page-toc"]},
    "show_nav_level": 1,
    "footer_start": ["copyright"],
    "footer_end": [],
}
