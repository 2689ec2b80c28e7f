"""The page in which ``dvc plots`` shows curves, with Vega in it: it opens without a network.

DVC's own page loads Vega from a server. ``.dvc/config`` names this one instead.
"""

import vl_convert

_PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<title>Curves</title>
{refresh_tag}
<script>%s</script>
<style>body { font-family: sans-serif } table { border-spacing: 15px }</style>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def plots_page() -> str:
    """The template; DVC puts its plots at ``{plot_divs}``."""
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return _PAGE.replace("%s", bundle.replace("</script", "<\\/script"))
