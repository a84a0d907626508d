"""`tetrarch demo`: the whole story in one run, every claim of it checked."""
