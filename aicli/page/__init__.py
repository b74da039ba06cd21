"""The web page and what it needs to answer photos by itself: files for a folder (`aicli page`) and for the service."""
