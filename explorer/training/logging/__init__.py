"""The numbers of a run: history, JSON lines, event files, tables and plots."""
