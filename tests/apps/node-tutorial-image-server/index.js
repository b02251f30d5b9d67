const { Deta } = require("deta");
const express = require("express");
const upload = require("express-fileupload");

const app = express();
app.use(upload());

const drive = Deta().Drive("node-images");

app.get("/", (request, response) => {
  response.send(`
    <form action="/upload" enctype="multipart/form-data" method="post">
      <input type="file" name="file">
      <input type="submit" value="Upload">
    </form>`);
});
app.post("/upload", async (request, response) => {
  const { name, data } = request.files.file;
  response.send(await drive.put(name, { data }));
});
app.get("/download/:name", async (request, response) => {
  const image = await drive.get(request.params.name);
  response.send(Buffer.from(await image.arrayBuffer()));
});

// harmless in a Micro
app.listen(3000);

module.exports = app;
