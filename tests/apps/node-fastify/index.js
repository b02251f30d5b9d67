import Fastify from "fastify";

const app = Fastify();
app.get("/", async () => ({ hello: "world" }));
app.post("/", async (request, reply) => reply.code(201).send(request.body));

export default app;
