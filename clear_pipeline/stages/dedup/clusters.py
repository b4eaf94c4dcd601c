"""From verified pairs to clusters, and from each member its best path to the keeper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clear_pipeline.stages.dedup.words import I64

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Verified pairs of texts, each once.

    Attributes:
        first: A text.
        second: Another, above `first`.
        similarity: In (0, 1].
    """

    first: I64
    second: I64
    similarity: F64

    @classmethod
    def none(cls) -> Pairs:
        """No pair."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def keepers(text_of: I64, pairs: Pairs, rank: I64) -> tuple[I64, F64]:
    """Per row, the row that stays in its place, and how surely they are alike.

    Args:
        text_of: Per row its text, as 0 .. texts - 1, each of some row.
        pairs: Of texts.
        rank: Per row its place in the order of preference, all different; the lowest stays.

    Returns:
        Keeper of each row (itself, if it stays) and, in [0, 1], the weakest pair on the best path
        to it (1.0 for the same text).
    """
    texts = int(text_of.max(initial=-1)) + 1
    order = np.argsort(-rank)
    best = np.zeros(texts, np.int64)
    best[text_of[order]] = order  # the last write wins: the row of the lowest rank
    keeper, similarity = best.copy(), np.ones(texts)
    nodes, ends = np.unique(np.stack([pairs.first, pairs.second]), return_inverse=True)
    ends = ends.reshape(2, -1)
    if len(nodes):
        centre, weakest = _centres(ends[0], ends[1], pairs.similarity, rank[best[nodes]])
        keeper[nodes], similarity[nodes] = best[nodes[centre]], weakest
    return keeper[text_of], similarity[text_of]


def _centres(first: I64, second: I64, similarity: F64, rank: I64) -> tuple[I64, F64]:
    """Of a graph each node's centre, the node of lowest rank that it is connected with.

    Args:
        first: One node of each edge.
        second: The other.
        similarity: Of each edge.
        rank: Of each node.

    Returns:
        The centre of each node, and of all paths to it the greatest weakest similarity: the one
        on the path in a spanning tree of the strongest edges.
    """
    from scipy.sparse import coo_array, csgraph

    nodes = len(rank)
    values, place = np.unique(-similarity, return_inverse=True)
    weights = coo_array((place + 1, (first, second)), (nodes, nodes)).tocsr()
    forest = csgraph.minimum_spanning_tree(weights).tocoo()
    count, cluster = csgraph.connected_components(forest, directed=False)
    by_rank = np.argsort(-rank)
    centre_of = np.empty(count, np.int64)
    centre_of[cluster[by_rank]] = by_rank
    # One more node, tied to all centres, makes it one tree.
    rows = np.concatenate([forest.row, centre_of])
    columns = np.concatenate([forest.col, np.full(count, nodes)])
    data = np.concatenate([-values[forest.data.astype(np.int64) - 1], np.ones(count)])
    tree = coo_array((data, (rows, columns)), (nodes + 1, nodes + 1)).tocsr()
    _, parent = csgraph.breadth_first_order(tree, nodes, directed=False)
    child = np.where(parent[rows] == columns, rows, columns)
    weakest = np.ones(nodes + 1)
    weakest[child] = data
    return centre_of[cluster], _along(parent, weakest, root=nodes)[:nodes]


def _along(parent: NDArray[np.int32], weakest: F64, *, root: int) -> F64:
    """Per node the weakest edge on its way to the root, in as many rounds as its depth has bits.

    Args:
        parent: Of each node; of the root anything.
        weakest: Per node the edge to its parent; 1.0 for the root.
        root: The node that the others lead to.
    """
    above = parent.copy()
    above[root] = root
    while not np.all(above == root):
        weakest = np.minimum(weakest, weakest[above])
        above = above[above]
    return weakest
