/** What the API gives (microhost/console/models.py). Times are ISO 8601 in UTC, durations seconds, sizes bytes. */

export interface User {
  id: string;
  name: string;
  role: "owner" | "member";
  has_password?: boolean;
}

export interface Session {
  user: User;
  expires_at: string;
  has_password: boolean;
}

export interface Project {
  id: string;
  name: string;
  created_at: string;
  builds_allowed: boolean;
}

export type MicroState = "new" | "cold" | "asleep" | "awake";

export interface Micro {
  id: string;
  name: string;
  project: string;
  project_name: string;
  runtime: string;
  path: string;
  subdomain: string | null;
  endpoint: string;
  subdomain_endpoint: string | null;
  http_auth: boolean;
  visor: boolean;
  cron: string | null;
  state: MicroState;
  timeout_s: number;
  memory_mb: number;
  concurrency: number;
  packages_as_of: string | null;
  egress: "public" | "none" | string[];
  live_deployment: string | null;
  created_at: string;
  warnings: string[];
}

/** What a deployment of a public repository would be; all texts are its author's. */
export interface Repository {
  url: string;
  branch: string;
  commit: string;
  name: string;
  description: string;
  runtime: string;
  env: { key: string; description: string; value: string; required: boolean }[];
  cron: string;
  notes: string[];
}

export interface Deployment {
  id: string;
  number: number;
  micro: string;
  state: "live" | "retired";
  runtime: string;
  created_at: string;
  code_bytes: number;
  files: number;
  dependencies: string | null;
  interface: "asgi" | "wsgi" | "node" | null;
  run: string[] | null;
  cron: boolean | null;
  mode: "fork" | "fresh" | null;
  warnings: string[];
}

export interface FileList {
  deployment: string;
  files: Record<string, string>;
}

export type Trigger = "http" | "run" | "cron";

/** One execution. `visor`: its request and response were recorded, too. */
export interface Event {
  id: string;
  trigger: Trigger;
  deployment: string;
  started_at: string;
  duration_s: number;
  queued_s: number;
  start: "warm" | "asleep" | "cold";
  status: number;
  method: string;
  path: string;
  action: string;
  cause: string | null;
  message: string;
  log: string;
  peak_memory_bytes: number | null;
  visor: boolean;
}

/** A part of a listing, newest first; `last` continues it. */
export interface EventPage {
  events: Event[];
  last: string | null;
}

export interface RecordedBody {
  text: string | null;
  base64: string | null;
  bytes: number;
  cut: boolean;
}

export interface RecordedRequest {
  method: string;
  target: string;
  headers: [string, string][];
  masked: string[];
  body: RecordedBody;
}

export interface RecordedResponse {
  status: number;
  headers: [string, string][];
  masked: string[];
  body: RecordedBody;
}

export interface Exchange {
  request: RecordedRequest;
  response: RecordedResponse | null;
}

export interface SentRequest {
  event: Event;
  request: RecordedRequest;
  response: RecordedResponse | null;
}

export interface Replayed extends SentRequest {
  recorded: { event: Event; response: RecordedResponse | null };
  left_out: string[];
}

export interface MetricsPoint {
  at: string;
  count: number;
  errors: number;
  p50_s: number | null;
  p95_s: number | null;
  memory_bytes: number | null;
}

export interface Metrics {
  from: string;
  step_s: number;
  points: MetricsPoint[];
}

export interface Schedule {
  expression: string;
  description: string;
  next: string[];
  running: boolean;
}

export interface ApiKey {
  name: string;
  description: string;
  prefix: string;
  created: string;
}

export interface ProjectKey {
  name: string;
  created_at: string;
}

export interface Token {
  id: string;
  name: string;
  user: string;
  created_at: string;
  expires_at: string;
  last_used_at: string | null;
}

export interface Domain {
  domain: string;
  state: "pending" | "active" | "failed";
  /** A sentence, empty when all is well. */
  reason: string;
  checked_at: string | null;
  points_to: string | null;
  created_at: string;
}

export interface Login {
  name: string;
  address: string;
  created_at: string;
  state: "pending" | "approved" | "denied" | "taken" | "expired";
}

export interface Doctor {
  guards: { name: string; state: string; detail: string; advice: string; accepted: boolean }[];
  runtimes: { name: string; version: string }[];
  /** What was not recorded since the host's start. */
  dropped: { events: number; exchanges: number };
}

export interface DriveSummary {
  name: string;
  files: number;
  bytes: number;
}

export interface DriveSummaries {
  drives: DriveSummary[];
  /** What they take on the disk, unfinished uploads included. */
  used_bytes: number;
  quota_bytes: number;
}

/** A user as the owner sees them; one without a password has not accepted the invitation yet. */
export interface Member {
  id: string;
  name: string;
  role: "owner" | "member";
  created_at: string;
  has_password: boolean;
}
