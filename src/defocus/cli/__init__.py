"""The command `defocus`: one module per subcommand, put together in `app`."""
