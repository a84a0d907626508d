"""What every ordering engine shares: the Engine contract, quorum sizes, votes, the pending pool.

Pure: no sockets, disks, clocks or global randomness, and nothing that only one engine needs.
"""
