from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(
    str(Path(__file__).parents[2])
)  # the page's package is not installed: Streamlit runs it from its folder
