"""Open a page in the person's browser, where there is one."""

from __future__ import annotations

import webbrowser

from microhost.cli import output


def open_page(url: str) -> bool:
    """Open a page; tells whether a browser took it."""
    if not url.startswith(("http://", "https://")):
        return False  # the server names it: no file of ours, and no option of the browser's command
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def show_page(url: str, headline: str, *, no_browser: bool) -> None:
    """Print a page's link, and open it unless that is not wanted."""
    if not no_browser:
        output.say(headline)
    output.give(output.one_line(url))
    if not no_browser and not open_page(url):
        output.hint("No browser could be opened here. Open the link on any machine that reaches the server.")
