"""The PBFT engine (Castro and Liskov, OSDI 1999, with signatures), behind `consensus.contract`.

Pure: no sockets, disks, clocks or global randomness.
"""
