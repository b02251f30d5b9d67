import { expect, it } from "vitest";
import type { Event } from "../../lib/types";
import { causeInWords, logText, plain, whatOf } from "./words";

const EVENT: Event = {
  id: "e1",
  trigger: "http",
  deployment: "d",
  started_at: "2026-01-02T12:00:00Z",
  duration_s: 0.012,
  queued_s: 0,
  start: "warm",
  status: 200,
  method: "GET",
  path: "/",
  action: "",
  cause: null,
  message: "",
  log: "",
  peak_memory_bytes: null,
  visor: false,
};

it("says causes in words, and those it does not know by their name", () =>
  expect([causeInWords("timeout"), causeInWords("a_new_one")]).toEqual([
    "took too long and was stopped",
    "a new one",
  ]));

it.each([
  [{}, "GET /"],
  [{ trigger: "run", action: "greet" }, "run greet"],
  [{ trigger: "cron" }, "cron"],
] as const)("names %j", (given, said) => expect(whatOf({ ...EVENT, ...given } as Event)).toBe(said));

it("shows what commands a terminal, and what turns text around", () =>
  expect(plain("a\tb\x1b[2J\u202ec\r")).toBe("a\tb\\x1b[2J\\u202ec\\x0d"));

it("writes every line of an execution after its time and id", () =>
  expect(logText({ ...EVENT, status: 502, cause: "timeout", message: "late", log: "one\ntwo\n" })).toBe(
    "2026-01-02T12:00:00Z e1 GET / 502 12 ms timeout: late\n" +
      "2026-01-02T12:00:00Z e1 one\n2026-01-02T12:00:00Z e1 two\n",
  ));
