"""The site's configuration. `make docs` builds it, with warnings as errors (docs/decisions/0001-sphinx.md: why Sphinx)."""

from typing import Any

project = "Learnloop"
author = "Learnloop's makers"

extensions = ["myst_parser", "autoapi.extension", "sphinx.ext.napoleon"]
exclude_patterns = ["generate"]
# Names that several modules import, such as Conflict: that they are ambiguous is no fault of a docstring's.
suppress_warnings = ["ref.python"]

# The pages are read on a code host too, so they are plain Markdown: links to files and headings, nothing of Sphinx's.
myst_heading_anchors = 4
highlight_language = "none"  # most blocks are what somebody types, or a few lines of YAML

# Docstrings are read from the source: neither Airflow nor anything else is imported.
autoapi_dirs = ["../include/learnloop", "../plugins/learnloop_airflow"]
autoapi_generate_api_docs = False  # only what a page asks for
autoapi_python_class_content = "class"
autoapi_options = ["members"]
default_role = "py:obj"

html_theme = "furo"
html_title = "Learnloop"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}


CALLED_BY_AIRFLOW = ("execute", "execute_complete", "on_kill", "poke", "template_fields", "notify", "async_notify")


def skip(app: Any, what: str, name: str, found: Any, skipped: bool, options: Any) -> bool:
    """Of a module only what is its own and is explained; of operators only the classes, and nothing that Airflow calls."""
    if found.imported or not found.docstring or name.startswith("_"):
        return True
    return found.id.startswith("learnloop_airflow.") and (found.type == "function" or name in CALLED_BY_AIRFLOW)


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", skip)
