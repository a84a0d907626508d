"""One replica: the synchronous heart that decides everything, and the asyncio shell that moves its bytes.

The ordering engine, the ledger and the network know nothing of one another; they meet here.
"""
