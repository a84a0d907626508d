"""What may be believed: digests, canonical bytes, keys, signed envelopes, rosters, Merkle trees.

Everything here is pure computation, except key files (`crypto.keyfile`, and what it shares with other
writers of files, `crypto.files`) and TLS identities (`crypto.tls`), which read and write the files their
names say. Nothing here knows of consensus, of the ledger, or of a network.
"""
