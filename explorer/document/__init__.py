"""What is to be shown, as one record, and its lowerings to text, HTML, Markdown and CSV."""
