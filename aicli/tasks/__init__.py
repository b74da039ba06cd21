"""The Python API: one object per task, loaded once and called for many images."""
