"""How results look: records for people and pipelines, annotated pictures, crops, contact sheets.

Each module is imported by whoever needs it; this package imports none of them, so that a plain answer never pays for
Pillow or rich.
"""
