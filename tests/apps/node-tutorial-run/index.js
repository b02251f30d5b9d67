const { app } = require("deta");

app.lib.run((event) => ({ message: `hello ${event.json.name}!` }), "hello");
app.lib.run((event) => ({ message: `good morning ${event.json.name}!` }), "greet");
app.lib.run((event) => [event.json, event.type, event.action]);

module.exports = app;
