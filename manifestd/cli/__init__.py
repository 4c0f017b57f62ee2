"""The command line: click lives here; one command or group a file."""
