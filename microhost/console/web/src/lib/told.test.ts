import { afterEach, describe, expect, it, vi } from "vitest";
import { postTold, splitEvents } from "./told";

describe("the events of a stream", () => {
  it("are read once they are whole, without comments", () => {
    const { events, rest } = splitEvents(
      'event: phase\ndata: {"phase":"fetch"}\n\n: still at it\n\nevent: log\ndata: {"line":"a\\n\\nb"}\n\neve',
    );
    expect(events).toEqual([
      { event: "phase", data: { phase: "fetch" } },
      { event: "log", data: { line: "a\n\nb" } },
    ]);
    expect(rest).toBe("eve");
  });
});

describe("an act that tells how it goes", () => {
  afterEach(() => vi.unstubAllGlobals());

  const answer = (...parts: string[]) => {
    const bytes = parts.map((part) => new TextEncoder().encode(part));
    const body = new ReadableStream({
      start(controller) {
        for (const each of bytes) controller.enqueue(each);
        controller.close();
      },
    });
    vi.stubGlobal("fetch", async () => new Response(body, { status: 200 }));
  };

  it("ends with what is live, in whatever pieces it comes", async () => {
    answer("event: pha", 'se\ndata: {"phase":"fetch"}\n', '\nevent: live\ndata: {"id":"ä"}\n\n');
    const heard: string[] = [];
    const live = await postTold<{ id: string }>("/x", {}, ({ event }) => heard.push(event));
    expect(live).toEqual({ id: "ä" });
    expect(heard).toEqual(["phase"]);
  });

  it("throws what was refused, and an early end", async () => {
    answer('event: refused\ndata: {"status":422,"errors":["No."],"log":"Traceback"}\n\n');
    await expect(postTold("/x", {}, () => {})).rejects.toMatchObject({
      status: 422,
      sentences: ["No."],
      body: { log: "Traceback" },
    });
    answer(": still at it\n\n");
    await expect(postTold("/x", {}, () => {})).rejects.toMatchObject({ status: 0 });
  });
});
