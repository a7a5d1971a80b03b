"""One verb per module: a request into files of the workspace, and a summary of what was made."""
