"""Where bytes come from: the only room that opens files."""
