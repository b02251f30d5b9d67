"""Give a Micro its `app` and `App`: `from deta import app, App`.

Source: Deta docs, Micros > Run and Cron.
"""

from detalib.app import App

__all__ = ["App", "app"]

app = App()
