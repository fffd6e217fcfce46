"""Links to names in Python files, as the pages write them: `[text](../lns/codec.py#encode)`."""

import ast
import re
from functools import cache

LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.py)#([A-Za-z_]\w*)\)")


@cache
def definitions(source: str) -> dict[str, int]:
    """Return name -> line of what a Python file defines, methods and fields included."""
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            lines.setdefault(node.name, node.lineno)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    lines.setdefault(target.id, node.lineno)
    return lines
