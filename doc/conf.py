"""Sphinx configuration. To build the pages offline, from the root: sphinx-build -W -b html doc doc/_build/html."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import skrlv

project = "skrlv"
author = "The skrlv developers"
copyright = "2026, The skrlv developers"
version = release = skrlv.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas need no network
    "sphinx_copybutton",
    "sphinx_design",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext"}  # Markdown is only included
suppress_warnings = ["myst.header"]
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
plot_html_show_formats = plot_html_show_source_link = False
plot_formats = [("png", 90)]
plot_rcparams = {"figure.figsize": (6.0, 4.0)}
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "code"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False  # the templates in _templates list the members of each page
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/(plot_|quickstart)",
    "doc_module": ("skrlv",),
    "show_memory": False,
    "capture_repr": (),
    "within_subsection_order": "ExampleTitleSortKey",
    "download_all_examples": False,
}

html_theme = "pydata_sphinx_theme"
html_title = f"skrlv {release}"
html_show_sourcelink = False
ALONE = ("index", "install", "tutorial", "which_estimator", "migration", "troubleshooting", "glossary", "equation")
ALONE += ("extending", "benchmarks", "citing", "changelog")
html_sidebars = {page: [] for page in ALONE}  # pages without others below them
html_static_path = ["_static"]
html_css_files = ["skrlv.css"]
html_theme_options = {
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": False,
}


def quote_fitted_names(app, what, name, obj, options, lines):
    """Quote names as in "of shape (n_iter_,)", whose last underscore would make them references."""
    lines[:] = [
        re.sub(r"(?<![`\w])([a-z]\w*_)(?=[,)])", r"`\1`", line) if "of shape (" in line else line for line in lines
    ]


def setup(app):
    app.connect("autodoc-process-docstring", quote_fitted_names, priority=100)  # before numpydoc
