"""One JSON object a line: our own events, and whatever the project's code writes to stdout or stderr."""
