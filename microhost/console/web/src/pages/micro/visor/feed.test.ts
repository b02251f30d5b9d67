import { describe, expect, it } from "vitest";
import type { Event } from "../../../lib/types";
import { arrived, extended, heldWords, KEPT, listed, NOTHING, released } from "./feed";

const START = Date.parse("2026-01-02T12:00:00Z");

/** The event that ended in second `at`. */
function event(at: number, log = ""): Event {
  return { id: `e${at}`, started_at: new Date(START + at * 1000).toISOString(), duration_s: 0, log } as Event;
}

/** Events from second `from` to `to`, newest first. */
const down = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, n) => event(from - n));
const up = (from: number, to: number) => down(to, from).reverse();
const ids = (events: Event[]) => events.map(({ id }) => id);

describe("the list", () => {
  it("puts new ones on top, each once, without their logs", () => {
    const feed = arrived(
      listed(NOTHING, down(2, 1), null),
      [event(2), event(3, "x".repeat(9)), event(4)],
      false,
    );
    expect(ids(feed.shown)).toEqual(["e4", "e3", "e2", "e1"]);
    expect(feed.shown[1]!.log).toBe("");
  });

  it("takes a listing that overlaps what the stream brought before it", () => {
    const feed = listed(arrived(NOTHING, up(3, 5), false), down(4, 1), "e1");
    expect(ids(feed.shown)).toEqual(["e5", "e4", "e3", "e2", "e1"]);
    expect(feed.more).toBe(true);
  });

  it("holds new ones back while one reads, and puts them on top when told to", () => {
    const held = arrived(
      arrived(listed(NOTHING, [event(1)], null), [event(2)], true),
      [event(2), event(3)],
      true,
    );
    expect(ids(held.shown)).toEqual(["e1"]);
    expect(heldWords(held)).toBe("2 new events");
    const feed = released(held);
    expect(ids(feed.shown)).toEqual(["e3", "e2", "e1"]);
    expect(feed.held).toEqual([]);
  });

  it("does not leave held ones behind when the reader is back on top", () => {
    const held = arrived(listed(NOTHING, [event(1)], null), [event(2)], true);
    expect(ids(arrived(held, [event(3)], false).shown)).toEqual(["e3", "e2", "e1"]);
  });

  it("never keeps more than its room, and knows that there are more", () => {
    const feed = arrived(listed(NOTHING, [event(0)], null), up(1, 2000), false);
    expect(feed.shown.length).toBe(KEPT);
    expect(feed.shown[0]!.id).toBe("e2000");
    expect(feed.more).toBe(true);
    const held = arrived(listed(NOTHING, [event(0)], null), up(1, 2000), true);
    expect(held.held.length).toBe(KEPT);
    expect(heldWords(held)).toBe("500+ new events");
    // a gap would be hidden between what was held and what was shown before
    expect(ids(released(held).shown)).not.toContain("e0");
  });

  it("grows below when one asks for older ones", () => {
    const full = arrived(listed(NOTHING, [], null), up(101, 700), false);
    expect(full.shown.length).toBe(KEPT);
    const feed = extended(full, down(200, 101), "e101");
    expect(feed.shown.at(-1)!.id).toBe("e101");
    expect(arrived(feed, [event(701)], false).shown.length).toBe(600);
  });

  it("starts anew after a gap that a listing cannot close", () => {
    const old = listed(NOTHING, down(10, 1), null);
    const feed = listed(old, down(200, 101), "e101");
    expect(ids(feed.shown)).toEqual(ids(down(200, 101)));
    expect(feed.more).toBe(true);
  });

  it("keeps the older ones that a reader had asked for when the stream comes back", () => {
    const old = extended(listed(NOTHING, down(10, 6), "e6"), down(5, 1), null);
    const feed = listed(old, down(12, 8), "e8");
    expect(ids(feed.shown)).toEqual(ids(down(12, 1)));
    expect(feed.more).toBe(false);
  });

  it("moves nothing under a reader when the stream comes back", () => {
    const old = listed(NOTHING, down(10, 1), null);
    const feed = listed(old, down(12, 8), "e8", true);
    expect(ids(feed.shown)).toEqual(ids(down(10, 1)));
    expect(ids(feed.held)).toEqual(["e12", "e11"]);
    const gap = listed(old, down(200, 101), "e101", true);
    expect(heldWords(gap)).toBe("100+ new events");
    expect(ids(released(gap).shown)).toEqual(ids(down(200, 101)));
    expect(released(gap).more).toBe(true);
  });

  it("goes on where a search of the host has come to, though it found nothing there", () => {
    const none = listed(NOTHING, [], "far");
    expect([none.more, none.last]).toEqual([true, "far"]);
    const some = extended(none, [event(5)], "farther");
    expect([ids(some.shown), some.last]).toEqual([["e5"], "farther"]);
    expect(listed(some, [event(6), event(5)], "e5").last).toBe("e5");
    expect(arrived(some, up(1000, 2000), false).last).toBeNull();
  });

  it("keeps the order of the host, which may differ from that of the clocks", () => {
    const feed = arrived(listed(NOTHING, [event(1), event(2)], null), [event(0)], false);
    expect(ids(feed.shown)).toEqual(["e0", "e1", "e2"]);
  });
});
