"""The speed-up over the number of nodes as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from farm.scaling_figures import Row

WIDTH: Final = 960
HEIGHT: Final = 720
LEFT: Final = 80
RIGHT: Final = 40
TOP: Final = 70
BOTTOM: Final = 80
PAPER: Final = (255, 255, 255)
INK: Final = (40, 40, 40)
GRID: Final = (225, 225, 225)
IDEAL: Final = (150, 150, 150)
LINE: Final = (170, 90, 20)
"""Blue, green, red, as OpenCV has them."""
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def draw(rows: Sequence[Row], title: str) -> bytes:
    """A PNG: measured speed-up with its 95 % intervals, the ideal line, efficiencies beside the
    points."""
    most = max(row.nodes for row in rows)
    top = max(most, max(row.speedup + row.speedup_ci for row in rows)) * 1.05
    paper = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)

    def at(nodes: float, speedup: float) -> tuple[int, int]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * nodes / (most * 1.1)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * speedup / top
        return round(x), round(y)

    def write(words: str, place: tuple[int, int], size: float = 0.55) -> None:
        cv2.putText(paper, words, place, _FONT, size, INK, 1, cv2.LINE_AA)

    for row in rows:
        cv2.line(paper, at(row.nodes, 0), at(row.nodes, top), GRID, 1)
        cv2.line(paper, at(0, row.nodes), at(most * 1.1, row.nodes), GRID, 1)
        x, y = at(row.nodes, 0)
        write(str(row.nodes), (x - 6, y + 24))
        write(str(row.nodes), (LEFT - 34, at(0, row.nodes)[1] + 6))
    cv2.line(paper, at(0, 0), at(0, top), INK, 1)
    cv2.line(paper, at(0, 0), at(most * 1.1, 0), INK, 1)
    cv2.line(paper, at(0, 0), at(most, most), IDEAL, 1, cv2.LINE_AA)
    points = [at(row.nodes, row.speedup) for row in rows]
    cv2.polylines(paper, [np.array(points, np.int32)], False, LINE, 2, cv2.LINE_AA)
    for row, point in zip(rows, points, strict=True):
        low = at(row.nodes, row.speedup - row.speedup_ci)
        high = at(row.nodes, row.speedup + row.speedup_ci)
        cv2.line(paper, low, high, LINE, 1)
        for end in (low, high):
            cv2.line(paper, (end[0] - 5, end[1]), (end[0] + 5, end[1]), LINE, 1)
        cv2.circle(paper, point, 4, LINE, -1, cv2.LINE_AA)
        write(f"{row.efficiency:.0%}", (point[0] + 10, point[1] + 20), 0.5)
    # OpenCV's letters are plain ASCII.
    write(title.encode("ascii", "replace").decode(), (LEFT, 34), 0.65)
    write("speed-up over nodes; efficiency at the points; grey: ideal", (LEFT, 58), 0.5)
    write("nodes", (WIDTH // 2, HEIGHT - 24))
    done, data = cv2.imencode(".png", paper)
    assert done
    return data.tobytes()
