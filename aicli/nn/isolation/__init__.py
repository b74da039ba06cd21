"""Engines in a process of their own, for models that nobody vouches for."""
