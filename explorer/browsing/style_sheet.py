"""Where the panes of the browser are, and their colours."""

__all__ = ["STYLE_SHEET"]

STYLE_SHEET = """
Screen { background: #12161d; color: #e6e9ee; }
#title { text-style: bold; padding: 0 1; height: 1; }
#sentence, #memory, #legend { padding: 0 1; height: 1; }
#memory { color: #9aa4b2; }
#strip { padding: 0 1; height: 1; }
#body { height: 1fr; }
#left { width: 1fr; padding: 0 1; }
#header { height: 1; }
#details { width: 46; border-left: solid #39424f; padding: 0 1; }
#details { scrollbar-size-vertical: 1; scrollbar-gutter: stable; scrollbar-color: #39424f;
    scrollbar-background: #12161d; }
#details:focus { border-left: solid #56b4e9; }
.narrow #body { layout: vertical; }
.narrow #details { width: 100%; height: 12; border-left: none; border-top: solid #39424f; }
.short #memory, .short #strip, .short #legend { display: none; }
.short.narrow #details { height: 9; }
#status { height: 1; padding: 0 1; background: #1c222c; color: #c8d0da; }
#search { height: 1; border: none; padding: 0 1; background: #1c222c; display: none; }
RowsPane { background: #12161d; scrollbar-color: #39424f; scrollbar-background: #12161d; }
Footer { background: #12161d; }
HelpScreen { align: center middle; background: #12161d 70%; }
#help { width: 84; max-width: 100%; height: auto; padding: 1 2; border: round #56b4e9; background: #1c222c; }
"""
