"""Result record -> text, JSON, CSV, Markdown, HTML. Data is never read as markup."""
