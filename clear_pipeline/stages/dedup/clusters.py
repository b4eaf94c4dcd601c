"""From verified pairs to clusters, and from each member its best path to the keeper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.shingles import I64

Edge = tuple[int, int, float]
"""Two nodes and their similarity in [0, 1]."""


def spanning_forest(edges: Iterable[Edge]) -> list[Edge]:
    """The strongest edges that connect what the edges connect, without a cycle (Kruskal).

    Between any two nodes of a tree its path has the greatest possible weakest edge.
    """
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while (above := parent.setdefault(node, node)) != node:
            parent[node] = parent[above]
            node = above
        return node

    forest = []
    for edge in sorted(edges, key=lambda e: (-e[2], e[0], e[1])):
        one, other = root(edge[0]), root(edge[1])
        if one != other:
            parent[one] = other
            forest.append(edge)
    return forest


def paths_from(start: int, neighbours: dict[int, list[tuple[int, float]]]) -> dict[int, float]:
    """Per reachable node the weakest similarity on its path from `start`; 1.0 for `start`."""
    weakest = {start: 1.0}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        for other, similarity in neighbours.get(node, ()):
            if other not in weakest:
                weakest[other] = min(weakest[node], similarity)
                waiting.append(other)
    return weakest


def _adjacency(forest: Sequence[Edge]) -> dict[int, list[tuple[int, float]]]:
    neighbours: dict[int, list[tuple[int, float]]] = {}
    for one, other, similarity in forest:
        neighbours.setdefault(one, []).append((other, similarity))
        neighbours.setdefault(other, []).append((one, similarity))
    return neighbours


def keepers(content_of: I64, edges: Iterable[Edge], rank: I64) -> tuple[I64, NDArray[np.float64]]:
    """Per row, the row that stays in its place, and how surely they are alike.

    Args:
        content_of: Per row its content, as 0 .. contents - 1.
        edges: Verified pairs of contents.
        rank: Per row its place in the order of preference, all different; the lowest stays.

    Returns:
        Keeper of each row (itself, if it stays) and, in [0, 1], the weakest pair on the best path
        to it (1.0 for equal content).
    """
    contents = int(content_of.max(initial=-1)) + 1
    best = np.full(contents, -1)
    order = np.argsort(-rank)
    best[content_of[order]] = order  # the last write wins: the row of the lowest rank
    keeper, similarity = best.copy(), np.ones(contents)
    neighbours = _adjacency(spanning_forest(edges))
    done: set[int] = set()
    for start in neighbours:
        if start in done:
            continue
        members = list(paths_from(start, neighbours))
        centre = min(members, key=lambda content: rank[best[content]])
        for content, weakest in paths_from(centre, neighbours).items():
            keeper[content], similarity[content] = best[centre], weakest
        done.update(members)
    return keeper[content_of], similarity[content_of]
