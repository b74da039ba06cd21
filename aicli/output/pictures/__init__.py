"""Pictures: boxes, crops, anonymised faces, contact sheets, and how they are saved."""
