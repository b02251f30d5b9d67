const express = require("express");
const { Deta } = require("deta");

const app = express();
const contacts = Deta().Base("node-contact-form");

app.use(express.urlencoded({ extended: false }));

app.post("/", async (request, response) => {
  const { name, email, message } = request.body;
  if (!name || !email || !message) return response.status(400).send("Bad request: missing some required values");
  await contacts.put({ name, email, message });
  return response.status(201).send("ok");
});

module.exports = app;
