"""Tables in Markdown."""


def markdown_table(table: list[list[str]]) -> str:
    """Rows of cells, the first one the header, as a table in Markdown."""
    header, *rows = ["| " + " | ".join(row) + " |" for row in table]
    return "\n".join([header, "|" + "---|" * len(table[0]), *rows])
