"""Tetrarch: a Byzantine-fault-tolerant replicated ledger. `import tetrarch` is the public API."""
