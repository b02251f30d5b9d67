const express = require("express");

const app = express();

app.post("/", (request, response) => {
  response.send("ok");
});

module.exports = app;
