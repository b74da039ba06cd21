"""The command line: click only. One file per subcommand; heavy imports are inside the command that needs them."""
