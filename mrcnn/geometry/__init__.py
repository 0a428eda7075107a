"""Boxes, masks and anchors as numpy arrays."""
