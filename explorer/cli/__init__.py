"""Parse, call, print: the only room that prints."""
