"""Runs: the settings, the folder a run leaves, and the assemblers that put every other room to work."""
