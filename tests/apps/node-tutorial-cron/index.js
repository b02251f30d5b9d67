const { app } = require("deta");

app.lib.cron((event) => {
  console.log(`running on a schedule: ${event.type}`);
  return "running on a schedule";
});

module.exports = app;
