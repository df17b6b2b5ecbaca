"""One RPC over its attempts: what it needs, what its failures show, what is accounted for. Pure."""
