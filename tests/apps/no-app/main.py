"""Has neither an app nor a handler."""

application = "it is called app"
