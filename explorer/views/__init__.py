"""Result record -> the document that shows it, or records for other programs."""
