const Koa = require("koa");
const app = new Koa();

app.use(async (context) => {
  if (context.path === "/boom") throw new Error("no luck");
  context.body = { hello: context.query.name ?? "world" };
});

module.exports = app;
