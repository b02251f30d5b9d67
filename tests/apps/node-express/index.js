// Everything at once: HTTP by Express, run and cron handlers, and the ways in which a request can fail.
const { App, Base } = require("deta");
const express = require("express");

const app = App(express());
app.set("trust proxy", true);
app.use(express.json());

app.get("/", (request, response) => response.json({ hello: "world", host: request.hostname, scheme: request.protocol }));
app.post("/echo", (request, response) => response.json(request.body));
app.get("/stream", async (request, response) => {
  for (const piece of ["a", "b", "c"]) {
    response.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  response.end();
});
app.get("/base", async (request, response) => {
  const users = Base("users");
  await users.put({ name: "Beverly" }, "b");
  response.json(await users.get("b"));
});
app.get("/thrown", () => {
  throw new Error("no luck");
});
app.get("/uncaught", () => setTimeout(() => { throw new TypeError("nobody caught me"); }, 5));
app.get("/rejected", () => void Promise.reject(new TypeError("nobody caught me")));
app.get("/exit", () => process.exit(3));
app.get("/silent", () => {});
app.get("/spin", () => {
  for (;;);
});
app.get("/buffers", () => {
  const held = [];
  for (;;) held.push(Buffer.alloc(1 << 20, 1));
});
app.get("/objects", () => {
  const held = [];
  for (;;) held.push({ of: [Math.random()] });
});
app.get("/count", (request, response) => {
  app.locals.count = (app.locals.count ?? 0) + 1;
  response.json(app.locals.count);
});

app.lib.run((event) => ({ message: `hello ${event.json.name}!` }));
app.lib.run(() => new Date(0), "time");
app.lib.cron((event) => console.log(`ran by ${event.type}`));

module.exports = app;
