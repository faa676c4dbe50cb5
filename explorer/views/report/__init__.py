"""A target, or two, as one HTML file that needs no network: its record, map, tables, page."""
