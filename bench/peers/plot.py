"""Draws what bench/peers/run.py measured as SVG: one panel a measure, one bar a server."""

STYLE = """text{font:13px system-ui,'Segoe UI','Helvetica Neue',Arial,sans-serif;fill:#1f2328}
text.title{font-size:16px;font-weight:600}text.panel{font-weight:600}text.small{font-size:11px;fill:#59636e}
.page{fill:#fff}.axis{stroke:#818b98;stroke-width:1;fill:none}
.ours{fill:#0969da}.theirs{fill:#818b98}.far{fill-opacity:.35}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}text.small{fill:#9198a1}.page{fill:#0d1117}.axis{stroke:#656c76}.ours{fill:#58a6ff}.theirs{fill:#9198a1}
}"""
MB = 1024 * 1024
COLUMN, TOP, BAR, GAP, LABEL, BARS = 455, 60, 20, 46, 72, 250


def short(number):
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def panels(servers):
    """(title, {server: (dark bar, light bar or None)}), a value of None where it is not known."""
    def of(value, other=None):
        return {n: (value(s), other(s) if other else None) for n, s in servers.items()}
    out = []
    for model, title in (("mlp_45", "small MLP"), ("cnn_224", "CNN 3x224x224")):
        out.append((f"{title}: requests/s", of(lambda s, m=model: s[m]["per_s"])))
        out.append((f"{title}: p50 and p99, ms", of(lambda s, m=model: s[m]["p50_us"] / 1e3,
                                                    lambda s, m=model: s[m]["p99_us"] / 1e3)))
    out.append(("memory, idle and after the load, MB", of(lambda s: s["idle_bytes"] / MB, lambda s: s["loaded_bytes"] / MB)))
    out.append(("start to the first right answer, ms", of(lambda s: s["start_ms"])))
    out.append(("beside a base image, MB", of(lambda s: s["size_bytes"] and s["size_bytes"] / MB)))
    return out


def panel(x, y, title, values, names):
    most = max((v for pair in values.values() for v in pair if v), default=1)
    lines = [f'<text class="panel" x="{x}" y="{y}">{title}</text>',
             f'<path class="axis" d="M{x + LABEL} {y + 8}v{BAR * len(values) + 4}"/>']
    for i, (name, (near, far)) in enumerate(values.items()):
        top, color = y + 10 + BAR * i, "ours" if name == "slipway" else "theirs"
        lines.append(f'<text class="small" x="{x + LABEL - 8}" y="{top + 13}" text-anchor="end">{names[name]}</text>')
        if near is None:
            lines.append(f'<text class="small" x="{x + LABEL + 6}" y="{top + 13}">not known</text>')
            continue
        for value, kind in ((far, f"{color} far"), (near, color)):
            if value is not None:
                lines.append(f'<rect class="{kind}" x="{x + LABEL}" y="{top + 2}" width="{BARS * value / most:.1f}" '
                             f'height="{BAR - 5}"/>')
        end, text = max(near, far or 0), short(near) + (f" / {short(far)}" if far is not None else "")
        lines.append(f'<text class="small" x="{x + LABEL + 6 + BARS * end / most:.1f}" y="{top + 13}">{text}</text>')
    return lines


def svg(details):
    servers = details["servers"]
    names = {n: s["title"].split(",")[0] for n, s in servers.items()}
    drawn = panels(servers)
    height = GAP + BAR * len(servers)
    rows = (len(drawn) + 1) // 2
    width, full = 2 * COLUMN + 20, TOP + rows * height + 10
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{full}" viewBox="0 0 {width} {full}" role="img">',
             "<title>Slipway beside other model servers</title>",
             f"<desc>{len(drawn)} measures of {', '.join(names.values())}, as bars.</desc>",
             f"<style>\n{STYLE}\n</style>", f'<rect class="page" width="{width}" height="{full}"/>',
             '<text class="title" x="20" y="28">Slipway beside other model servers</text>']
    for i, (title, values) in enumerate(drawn):
        lines += panel(20 + COLUMN * (i % 2), TOP + height * (i // 2), title, values, names)
    x, y = 20 + COLUMN, TOP + height * (rows - 1)
    connections = details["connections"]
    notes = [f"JSON over HTTP, {connections['mlp_45']} connections (MLP), {connections['cnn_224']} (CNN);",
             f"medians of {details['rounds']} rounds, one server at a time.",
             "Dark: p50, idle. Light: p99, after the load."]
    if len(drawn) % 2:
        lines += [f'<text class="small" x="{x}" y="{y + 26 + 18 * i}">{note}</text>' for i, note in enumerate(notes)]
    return "\n".join([*lines, "</svg>"]) + "\n"
