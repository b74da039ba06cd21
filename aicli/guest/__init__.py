"""The guest: its records and exports, and the client that calls them."""
