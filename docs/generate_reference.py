"""Writes docs/reference.md from the docstrings of what a plug-in author uses. `make reference` runs it.

Sources are parsed, not imported: docstrings of fields exist in the source only.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference.md"
SECTIONS = {
    "Hooks": "fedsec/api/hooks.py",
    "Model and protocol": "fedsec/api/setup.py",
    "Views and values": "fedsec/api/views.py",
    "What is known after training": "fedsec/api/evidence.py",
    "Protocols": "fedsec/api/protocols.py",
    "Before a federation": "fedsec/api/supply.py",
    "Side knowledge": "fedsec/api/granted.py",
    "Work of a reading attack": "fedsec/api/work.py",
    "Rows": "fedsec/maths/rows.py",
    "Cards": "fedsec/api/cards.py",
    "Threat models": "fedsec/api/threat.py",
    "Goals": "fedsec/api/goals.py",
    "Cards of goals": "fedsec/api/goal_cards.py",
    "Metric values": "fedsec/api/metrics.py",
    "Differential privacy": "fedsec/api/privacy.py",
    "Contract checks": "fedsec/testing/contracts.py",
}
"""Headings of the page, and the module that each describes."""
HEAD = """# Reference for plug-in authors

What [plugins.md](plugins.md) introduces, in full. Everything here except `Rows`, `Corpus`, `BaseModel` and the contract
checks is imported from `fedsec.api`. This page is made from docstrings by `make reference`; edit those.
"""


def page() -> str:
    """Return the whole page."""
    trees = {title: ast.parse((ROOT / path).read_text()) for title, path in SECTIONS.items()}
    contents = " · ".join(f"[{title}](#{title.lower().replace(' ', '-')})" for title in SECTIONS)
    parts = [HEAD, contents + "\n"]
    for title, tree in trees.items():
        parts += [f"## {title}\n", f"{_prose(ast.get_docstring(tree) or '')} (`{SECTIONS[title]}`)\n"]
        parts += _of_steps(tree) if title == "Hooks" else []
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                parts.append(_of_class(node))
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                parts.append(f"### `{_signature(node)}`\n\n{_prose(ast.get_docstring(node) or '')}\n")
    return re.sub(r" +$", "", "\n".join(parts), flags=re.MULTILINE)


def _of_steps(hooks: ast.Module) -> Iterator[str]:
    """Yield a table of the hooks, in the order of a round."""
    yield "| method | class | what it does |\n| --- | --- | --- |"
    for node in hooks.body:
        if isinstance(node, ast.ClassDef):
            summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            names = ", ".join(f"`{part.name}`" for part in node.body if isinstance(part, ast.FunctionDef))
            yield f"| {names} | [{node.name}](#{node.name.lower()}) | {summary} |"
    yield ""


def _of_class(node: ast.ClassDef) -> str:
    """Return a class with its fields or members and its public methods."""
    bases = [ast.unparse(base) for base in node.bases]
    shown = [base for base in bases if base != "Protocol" and not base.startswith("Generic")]
    lines = [f"### {node.name}\n", *([f"A `{', '.join(shown)}`.\n"] if shown else [])]
    lines += [f"{_prose(ast.get_docstring(node) or '')}\n"]
    fields, methods = [], []
    for place, part in enumerate(node.body):
        if isinstance(part, ast.AnnAssign | ast.Assign):
            fields.append(f"- `{_field(part)}`{_after(node.body, place)}")
        elif isinstance(part, ast.FunctionDef) and (not part.name.startswith("_") or part.name == "__call__"):
            text = _prose(ast.get_docstring(part) or "").replace("\n", "\n  ")
            methods.append(f"- `{_signature(part)}`: {text}")
    return "\n".join([*lines, *([*fields, ""] if fields else []), *([*methods, ""] if methods else [])])


def _field(part: ast.AnnAssign | ast.Assign) -> str:
    """Return a field as it is written, without quotes about its type."""
    if isinstance(part, ast.Assign):
        return ast.unparse(part)
    text = f"{ast.unparse(part.target)}: {_type(part.annotation)}"
    return text if part.value is None else f"{text} = {ast.unparse(part.value)}"


def _after(body: list[ast.stmt], place: int) -> str:
    """Return the docstring that follows a field."""
    following = body[place + 1] if place + 1 < len(body) else None
    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
        return ": " + " ".join(str(following.value.value).split())
    return ""


def _signature(node: ast.FunctionDef) -> str:
    """Return a function's name, arguments and result."""
    own, keywords = node.args.args, node.args.kwonlyargs
    defaults = [None] * (len(own) - len(node.args.defaults)) + list(node.args.defaults)
    shown = [_argument(one, value) for one, value in zip(own, defaults, strict=True) if one.arg != "self"]
    if keywords:
        shown += ["*", *(_argument(*pair) for pair in zip(keywords, node.args.kw_defaults, strict=True))]
    return f"{node.name}({', '.join(shown)})" + (f" -> {_type(node.returns)}" if node.returns else "")


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    text = f"{one.arg}: {_type(one.annotation)}" if one.annotation else one.arg
    return text if default is None else f"{text} = {ast.unparse(default)}"


def _type(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return "" if node is None else ast.unparse(node)


def _prose(text: str) -> str:
    """Return a docstring as Markdown: the entries of `Args:` and `Raises:` become lists."""
    text = re.sub(r"\n {8,}", " ", text)  # continued entries
    text = re.sub(r"^ {4}(\*{0,2}\w+): ", r"- `\1`: ", text, flags=re.MULTILINE)
    return re.sub(r"^(Args|Raises|Returns):$", r"\1:\n", text, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(None if PAGE.write_text(page()) else "nothing was written")
