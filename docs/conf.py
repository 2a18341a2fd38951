"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from braid_hpc import __version__  # noqa: E402

project = "braid_hpc"
author = copyright = "The braid_hpc developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "benchmarks"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # types stand in the Parameters sections, in words
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "alabaster"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_theme_options = {
    "description": "Provenance for MPI jobs",
    "fixed_sidebar": True,
    "page_width": "900px",  # below it the navigation stands on top; the width itself is in custom.css
    "sidebar_width": "230px",
    "show_powered_by": False,
}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
pygments_style = "default"


def help_of(words: list[str]) -> str:
    """Return what ``braid <words> --help`` prints, on lines of at most 90 characters."""
    from click.testing import CliRunner

    from braid_hpc.cli.app import braid
    from braid_hpc.cli.program import USAGE

    if words == ["run"]:
        return USAGE
    result = CliRunner().invoke(braid, [*words, "--help"], prog_name="braid", terminal_width=90)
    if result.exit_code:
        raise ValueError(f"braid {' '.join(words)} --help ends with {result.exit_code}")
    return result.output


class CommandHelp(Directive):
    """``{command-help} lineage``: the help of a command as the installed version prints it."""

    required_arguments = 0
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return it as a block of text."""
        words = self.arguments[0].split() if self.arguments else []
        text = help_of(words)
        return [nodes.literal_block(text, text, language="text")]


def join_names(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep `first, second : type` together in a section of attributes, which napoleon would cut at the space."""
    if "Attributes" in lines:
        for at in range(lines.index("Attributes") + 2, len(lines)):
            names, colon, rest = lines[at].partition(" : ")
            if colon and not names.startswith(" ") and ", " in names:
                lines[at] = f"{names.replace(', ', ',')}{colon}{rest}"


def setup(app: Any) -> dict[str, bool]:
    """Add the directive, and what comes before napoleon."""
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", join_names, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
