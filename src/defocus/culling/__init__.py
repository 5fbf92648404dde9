"""Choosing among the photographs of a shoot: bursts, where to look, why in words, ratings, moving and copying."""
