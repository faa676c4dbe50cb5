"""An app of textual in the browser's own themes."""

from textual.app import App
from textual.theme import Theme as TextualTheme

from explorer.browsing.themes import THEMES, Theme, ThemeName

__all__ = ["ThemedApp"]


class ThemedApp(App[None]):
    """An app on a dark ground or a light one.

    Args:
        theme: of the colours at first.
    """

    def __init__(self, theme: ThemeName):
        super().__init__()
        for name in THEMES:
            self.register_theme(_textual_theme(name))
        self.theme = theme

    @property
    def colours(self) -> Theme:
        """The colours of what is drawn."""
        return THEMES["light" if self.theme == "light" else "dark"]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return what the style sheet has beside the variables of every theme of textual."""
        return _own_variables("dark")

    def action_theme(self) -> None:
        """Change between a dark ground and a light one."""
        self.theme = "dark" if self.theme == "light" else "light"


def _own_variables(name: ThemeName) -> dict[str, str]:
    theme = THEMES[name]
    return {"quiet": theme.words["dim"], "rule": theme.rule}


def _textual_theme(name: ThemeName) -> TextualTheme:
    """Return a theme for the widgets of textual."""
    theme = THEMES[name]
    footer = {
        "footer-background": theme.ground,
        "footer-foreground": theme.words["name"],
        "footer-description-foreground": theme.words["dim"],
        "footer-key-foreground": theme.accent,
    }
    return TextualTheme(
        name=name,
        primary=theme.accent,
        accent=theme.accent,
        foreground=theme.words["name"],
        background=theme.ground,
        surface=theme.raised,
        panel=theme.ground,
        dark=name == "dark",
        variables=footer | _own_variables(name),
    )
