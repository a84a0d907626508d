"""Making networks: what lies on each machine before the first block.

What lives here: keys, certificates, places, and the text of every file that `tetrarch init` writes. What must
not be known here: how these files are read by those who run (`tetrarch.config`, `tetrarch.client`), and how
replicas are run. Where each file lies says `tetrarch.layout`.
"""
