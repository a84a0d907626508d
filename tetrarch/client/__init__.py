"""The client SDK: submitting, proven results, verified reads, subscriptions.

Nothing that a replica says is believed because of the connection it came by: what counts is signed by a
weak quorum of members, or proven against what they signed.
"""
