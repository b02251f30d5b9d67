import { execFileSync } from "node:child_process";
import { describe, expect, it, vi } from "vitest";
import type { RecordedRequest } from "../../../lib/types";
import { curl, quote } from "./curl";

// a busy machine takes its time to start a shell
vi.setConfig({ testTimeout: 60_000 });

const NO_BODY = { text: null, base64: null, bytes: 0, cut: false };

function request(given: Partial<RecordedRequest>): RecordedRequest {
  return { method: "GET", target: "/", headers: [], masked: [], body: NO_BODY, ...given };
}

/** What a real bash takes the words of a command for, `curl` and `base64` as they are. */
function words(command: string): string[] {
  const script = `curl() { printf '%s\\0' "$@"; }\n${command}`;
  return bash(script).split("\0").slice(0, -1);
}

function bash(script: string): string {
  return execFileSync("bash", ["--norc", "-c", script], {
    encoding: "utf8",
    env: { PATH: process.env.PATH, LC_ALL: "C.UTF-8" },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

describe("quote", () => {
  it.each([
    "plain",
    "",
    "it's",
    '$(id) `id` $HOME \\ "x" !! ; rm -rf / # & | > <',
    "two\nlines\n",
    "\u001b[201~\u0003rm\t\u007f",
    "é \u202e 日本 '!x",
    "\\x41 \\'",
    "\u001bf0",
  ])("gives %j to a shell as it is", (text) => {
    expect(bash(`printf %s ${quote(text)}`)).toBe(text);
  });

  it("writes nothing that a terminal would obey", () => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these must not be there
    expect(quote("\u001b[201~\nid\n\u0000\u0007\u009b'!")).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });
});

describe("curl", () => {
  it("sends a GET with its address alone", () => {
    expect(curl("http://x.localhost:8000/", request({ target: "/a?b=1" }))).toBe(
      "curl 'http://x.localhost:8000/a?b=1'",
    );
  });

  it("sends method, headers and body as they were", () => {
    const command = curl(
      "http://x.localhost",
      request({
        method: "POST",
        target: "/it's?x=[1]&y={a,b}",
        headers: [
          ["Content-Type", "application/json"],
          ["X-Note", "it's $HOME"],
          ["X-Empty", ""],
        ],
        body: { text: '{"a": "it\'s"}\n', base64: null, bytes: 15, cut: false },
      }),
    );
    expect(words(command)).toEqual([
      ...["-X", "POST", "--globoff", "http://x.localhost/it's?x=[1]&y={a,b}"],
      ...["-H", "Content-Type: application/json", "-H", "X-Note: it's $HOME", "-H", "X-Empty;"],
      ...["--data-raw", '{"a": "it\'s"}\n'],
    ]);
  });

  it("writes a placeholder for what was hidden, and leaves out what curl makes itself", () => {
    const command = curl(
      "http://x.localhost",
      request({
        headers: [
          ["Host", "x.localhost"],
          ["content-length", "3"],
          ["Accept-Encoding", "gzip, br"],
          ["X-Forwarded-For", "127.0.0.1"],
          ["Authorization", "•••"],
        ],
        masked: ["authorization"],
      }),
    );
    expect(words(command)).toEqual([
      ...["http://x.localhost/", "-H", "Authorization: <authorization is hidden>", "--compressed"],
    ]);
  });

  it("sends bytes that no shell's word can hold through base64", () => {
    const binary = request({ method: "PUT", body: { text: null, base64: "AAH/", bytes: 3, cut: false } });
    expect(curl("http://x.localhost", binary)).toContain("printf %s AAH/ | base64 -d | curl");
    expect(words(curl("http://x.localhost", binary)).slice(-2)).toEqual(["--data-binary", "@-"]);
    const zero = request({ method: "PUT", body: { text: "a\0é", base64: null, bytes: 4, cut: false } });
    expect(curl("http://x.localhost", zero)).toContain("printf %s YQDDqQ== | base64 -d");
  });

  it("lets curl invent no content type", () => {
    const posted = request({ method: "POST", body: { text: "x", base64: null, bytes: 1, cut: false } });
    expect(words(curl("http://x.localhost", posted))).toContain("Content-Type:");
  });

  it("keeps dots in a path and asks for a HEAD as one", () => {
    expect(words(curl("http://x.localhost", request({ method: "HEAD", target: "/a/../b" })))).toEqual([
      ...["--head", "--path-as-is", "http://x.localhost/a/../b"],
    ]);
  });

  it("passes no header whose name is none, which curl would take for a file to read", () => {
    const odd = request({ headers: [["@/etc/passwd", "x"]] });
    expect(curl("http://x.localhost", odd)).not.toContain("passwd");
  });
});
