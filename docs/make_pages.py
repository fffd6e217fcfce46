"""Run the Python of the guide and write down what it prints: `python docs/make_pages.py`.

In a page of the guide a block of Python is executed, in one namespace for the page, and the block
of text right after it is what it printed; a block that prints nothing has none. What stands between
`<!-- table: NAME -->` and `<!-- end of table -->` is that function of tables.py. The script
rewrites both in place; tests/repository/test_docs.py fails where that would change something.
"""

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import tables  # noqa: E402 - beside this file, which need not be a package

BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)
TABLE = re.compile(r"(<!-- table: ([a-z_]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages whose blocks and tables are kept up."""
    return sorted((HERE / "guide").glob("*.md"))


def printed(code: str, namespace: dict[str, Any], name: str) -> str:
    """Run a block and return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, name, "exec"), namespace)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def refreshed(text: str, name: str = "page") -> str:
    """Return a page with its printed outputs and tables as they are now."""
    namespace: dict[str, Any] = {"__name__": "__main__"}

    def block(match: "re.Match[str]") -> str:
        output = printed(match["code"], namespace, name)
        shown = f"\n```text\n{output}```\n" if output else ""
        return f"```python\n{match['code']}```\n{shown}"

    def table(match: "re.Match[str]") -> str:
        return f"{match[1]}\n{getattr(tables, match[2])()}\n\n{match[3]}"

    return TABLE.sub(table, BLOCK.sub(block, text))


def main() -> None:
    """Rewrite every page that has changed."""
    for path in pages():
        text = path.read_text("utf-8")
        new = refreshed(text, path.name)
        if new != text:
            path.write_text(new, "utf-8")
            print(path.relative_to(HERE))


if __name__ == "__main__":
    main()
