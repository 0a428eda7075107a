"""What the pictures of `mrcnn.visualize` are made of: pixels, outlines, labels, figures, plots."""
