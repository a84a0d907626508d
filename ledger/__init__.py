"""What the order means: transactions, applications, blocks, the state, the store, receipts, audit.

Certificates, votes and evidence of the ordering engine are opaque bytes here; how they are verified
is stated as a protocol (`ledger.certificates`) that engines implement.
"""
