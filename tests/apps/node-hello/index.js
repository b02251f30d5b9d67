const express = require("express");

const app = express();
app.get("/", (request, response) => response.json({ Hello: "World" }));

// as a script, for who wants to compare
if (require.main === module) app.listen(Number(process.env.PORT), "127.0.0.1");

module.exports = app;
