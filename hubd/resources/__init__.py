"""One kind of thing kept right a file: its wish, how it is observed, and the steps that close the gap."""
