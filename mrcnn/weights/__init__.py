"""Weight files: reading, writing, naming and fetching them."""
