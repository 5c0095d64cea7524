"""Colours and fonts of SVG and HTML, on a light ground and on a dark one."""

__all__ = ["MONO_EM", "SANS_EM", "style"]

# Widths of a column of text, in font sizes: no common font of the stacks below is wider.
MONO_EM = 0.62
SANS_EM = 0.65

_MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_SANS = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"

# What a class is painted with on a light ground and on a dark one. Blue and orange are told apart by nearly all eyes,
# and what is resident stands out more than what is not.
_FILLS = {
    "ground": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#e6edf3"),
    "dim": ("#59636e", "#9da7b3"),
    "ro-resident": ("#0969a8", "#6cb8f0"),
    "ro-absent": ("#b3d7f2", "#1d4565"),
    "ro-unknown": ("#6aaede", "#3a7fb0"),
    "rw-resident": ("#bc4c00", "#ffa657"),
    "rw-absent": ("#f8cfa8", "#6b3d10"),
    "rw-unknown": ("#e8924a", "#b86a1f"),
}
_STROKES = {
    "hole": ("#c4ccd4", "#3d444d"),
    "past-end": ("#cf222e", "#ff7b72"),
}


def style() -> str:
    """A style element. It says nothing about what is not in an element of the class `daxmap`."""
    fixed = (
        f".daxmap text{{font-family:{_SANS};white-space:pre}}"
        f".daxmap .mono{{font-family:{_MONO}}}"
        ".daxmap .hole,.daxmap .past-end{fill:none}"
        f"div.daxmap{{font:13px {_SANS};padding:8px;overflow-x:auto}}"
        "div.daxmap svg{display:block;max-width:100%;height:auto}"
        "div.daxmap table{border-collapse:collapse;table-layout:auto;margin:8px 0;font-size:12px}"
        "div.daxmap th,div.daxmap td{text-align:left;vertical-align:top;padding:3px 8px;white-space:nowrap}"
        f"div.daxmap td{{font-family:{_MONO}}}"
        "div.daxmap td.number{text-align:right}"
        "div.daxmap td.name{white-space:normal;overflow-wrap:anywhere;min-width:16em}"
    )
    return f"<style>{fixed}{_theme(0)}@media (prefers-color-scheme:dark){{{_theme(1)}}}</style>"


def _theme(index: int) -> str:
    ground, ink, line = _FILLS["ground"][index], _FILLS["ink"][index], _STROKES["hole"][index]
    return (
        "".join(f".daxmap .{name}{{fill:{colours[index]}}}" for name, colours in _FILLS.items())
        + "".join(f".daxmap .{name}{{stroke:{colours[index]}}}" for name, colours in _STROKES.items())
        + f"div.daxmap{{background:{ground};color:{ink}}}"
        # Of the cells, too: the stripes that notebooks give to rows are light or dark as the notebook is.
        + f"div.daxmap th,div.daxmap td{{background:{ground};color:{ink};border:0;border-bottom:1px solid {line}}}"
    )
