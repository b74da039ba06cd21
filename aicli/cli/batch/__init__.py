"""Runs over many photos: sources, work, records, pictures, groups."""
