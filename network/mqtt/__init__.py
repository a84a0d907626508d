"""Frames between members and clients by way of MQTT brokers, which need not be trusted.

What lives here: an end-to-end sealed conversation between each two parties, over brokers that may lose,
repeat, reorder and delay, and learn nothing but who speaks with whom, sizes and times.

| module | does |
|---|---|
| `station` | a replica at its brokers: `mesh` for members, `listener` for clients |
| `dial` | a client at the same brokers |
| `conversation` | one end of a conversation: exchanging keys, who is alive; sans-IO |
| `ways` | which of several brokers can be relied upon, in each direction; sans-IO |
| `segments` | frames in messages of which some may be lost; sans-IO |
| `post`, `connection` | the connections to brokers, by aiomqtt |
| `topics`, `names`, `broker`, `allowance` | plain data |

Sealing itself is in `crypto.sealed`; why it is done in this way, in docs/adr/0005-sealed-conversations.md.
"""
