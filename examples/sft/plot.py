# SPDX-License-Identifier: Apache-2.0
"""Accuracy and range by epoch as one SVG picture, without any library."""

WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 170, 60, 30, 60
COLOURS = ("#1f5fa8", "#c2571a")


def _axis(low, high):
    """Round limits and a step with four to nine lines between them"""
    span = max(high - low, 1e-9)
    step = 10.0 ** -9
    while span / step > 9:
        for factor in (2, 2.5, 2):
            step *= factor
            if span / step <= 9:
                break
    first = int(low // step) * step
    count = int((high - first) / step - 1e-9) + 1
    return first, first + count * step, [first + i * step for i in range(count + 1)]


def _panel(top, title, epochs, series):
    values = [v for _, line in series for v in line]
    low, high, ticks = _axis(min(values), max(values))
    last = max(epochs[-1], 1)

    def place(epoch, value):
        x = LEFT + epoch * (WIDTH - LEFT - 20) / last
        return "%.1f,%.1f" % (x, top + HEIGHT - (value - low) * HEIGHT / (high - low))
    out = ['<text x="%d" y="%d">%s</text>' % (LEFT, top - 10, title)]
    for tick in ticks:
        a, b = place(0, tick), place(last, tick)
        out.append('<path d="M%s L%s" stroke="#ddd"/>' % (a, b))
        out.append('<text x="%d" y="%.1f" text-anchor="end">%.6g</text>' % (LEFT - 6, float(a.split(",")[1]) + 4, tick))
    for epoch in epochs:
        x, y = place(epoch, low).split(",")
        out.append('<text x="%s" y="%.1f" text-anchor="middle">%d</text>' % (x, float(y) + 16, epoch))
    for i, (name, line) in enumerate(series):
        points = " ".join(place(e, v) for e, v in zip(epochs, line))
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (points, COLOURS[i]))
        out.append('<text x="%d" y="%d" fill="%s" text-anchor="end">%s</text>'
                   % (WIDTH - 20 - 120 * i, top - 10, COLOURS[i], name))
    return out


def svg(rows):
    """Rows of training.csv after the first epoch; none of them is no picture"""
    rows = [r for r in rows if r["epoch"] > 0]
    if not rows:
        return None
    epochs = [r["epoch"] for r in rows]
    accuracy = [("held back", [100 * r["held_back_accuracy"] for r in rows])]
    if all("test_accuracy" in r for r in rows):
        accuracy.append(("test", [100 * r["test_accuracy"] for r in rows]))
    height = TOP + 2 * (HEIGHT + GAP)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">'
           % (WIDTH, height), '<rect width="100%" height="100%" fill="white"/>']
    out += _panel(TOP, "accuracy by epoch, %", epochs, accuracy)
    out += _panel(TOP + HEIGHT + GAP, "largest activation by its box (1: inside)", epochs,
                  [("held back", [min(r["overshoot"], 100) for r in rows])])
    return "\n".join(out + ["</svg>", ""])
