"""Chooses a profile, or refuses, by the network from which a request comes."""
