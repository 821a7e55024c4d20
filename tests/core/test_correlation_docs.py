"""The reference page says what the code decides."""

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "exposure_table.py"


def test_the_page_holds_the_tables_that_the_code_prints() -> None:
    spec = importlib.util.spec_from_file_location("exposure_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    page = tool.PAGE.read_text(encoding="utf-8")

    assert all(table() in page for table in tool.TABLES.values())
    assert tool.renewed(page) == page, "run: python tools/exposure_table.py --write"
