"""The applications that come with the ledger: `kv`, `assets` and `notary`."""
