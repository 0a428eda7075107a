"""The pieces of the graph, in the order in which a picture meets them."""
