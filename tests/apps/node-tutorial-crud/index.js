const express = require("express");
const { Deta } = require("deta");

const app = express();
const users = Deta().Base("simple_db");

app.use(express.json());

app.post("/users", async (request, response) => {
  const { name, age, hometown } = request.body;
  response.status(201).json(await users.put({ name, age, hometown }));
});
app.get("/users/:id", async (request, response) => {
  const user = await users.get(request.params.id);
  if (user) response.json(user);
  else response.status(404).json({ message: "user not found" });
});
app.put("/users/:id", async (request, response) => {
  const { id } = request.params;
  const { name, age, hometown } = request.body;
  response.json(await users.put({ key: id, name, age, hometown }));
});
app.get("/search-by-age/:age", async (request, response) => {
  const { items } = await users.fetch({ age: Number(request.params.age) });
  response.json(items);
});
app.delete("/users/:id", async (request, response) => {
  await users.delete(request.params.id);
  response.json({ message: "deleted" });
});

module.exports = app;
