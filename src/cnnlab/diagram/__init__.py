"""Drawings of a network as papers draw them: from a traced forward pass to boxes and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # matplotlib takes a moment to load
    from matplotlib.figure import Figure

    from cnnlab.tracing import Summary

__all__ = ["draw"]


def draw(summary: Summary) -> Figure:
    """Draw the blocks of a summarised network, with its stages and the shapes after them, as papers do."""
    from cnnlab.diagram.from_summary import diagram
    from cnnlab.diagram.page import block_diagram

    return block_diagram(diagram(summary))
