"""`tetrarch bench`: what this machine's network does, beside what its signatures alone would allow."""
