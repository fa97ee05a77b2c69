"""The foreserve command: one file per subcommand."""
