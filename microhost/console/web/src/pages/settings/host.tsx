import { Show } from "../../components/feedback";
import { Card } from "../../components/page";
import { plural } from "../../lib/format";
import { useLoad } from "../../lib/loading";
import type { Doctor } from "../../lib/types";

/** How well this host confines what runs on it, and what it is. */
export function HostTab() {
  const doctor = useLoad<Doctor>("/doctor");
  const version = useLoad<{ version: string; api: number }>("/version");
  return (
    <>
      <Card title="This host">
        <Show of={version} lines={2}>
          {(known) => (
            <dl class="facts">
              <dt>microhost</dt>
              <dd>
                {known.version} (API {known.api})
              </dd>
              {doctor.data && (
                <>
                  <dt>Sandbox</dt>
                  <dd>
                    <Health doctor={doctor.data} />
                  </dd>
                  <dt>Not recorded</dt>
                  <dd>
                    <Dropped {...doctor.data.dropped} />
                  </dd>
                  <dt>Runtimes</dt>
                  <dd>{doctor.data.runtimes.map((each) => `${each.name} (${each.version})`).join(", ")}</dd>
                </>
              )}
            </dl>
          )}
        </Show>
      </Card>
      <Card
        title="Guards"
        help="What keeps Micros from each other and from the host. microhost doctor tells the same."
      >
        <Show of={doctor} lines={10}>
          {({ guards }) => <Guards guards={guards} />}
        </Show>
      </Card>
    </>
  );
}

function Health({ doctor }: { doctor: Doctor }) {
  const missing = doctor.guards.filter(({ state }) => state !== "enforced").length;
  return missing ? (
    <span class="badge warn">
      {missing} of {doctor.guards.length} guards are not fully enforced
    </span>
  ) : (
    <span class="badge good">all guards enforced</span>
  );
}

function Dropped({ events, exchanges }: Doctor["dropped"]) {
  if (!events && !exchanges) return "Nothing since the start of the host.";
  return (
    <>
      <span class="badge warn">
        {plural(events, "event")} and the contents of {plural(exchanges, "request")}
      </span>
      <p class="help">Since the start of the host: they came too fast, or the disk is slow or nearly full.</p>
    </>
  );
}

function Guards({ guards }: { guards: Doctor["guards"] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="table" aria-label="Guards" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">Guard</th>
            <th scope="col">State</th>
            <th scope="col">What was found</th>
          </tr>
        </thead>
        <tbody>
          {guards.map(({ name, state, detail, advice, accepted }) => (
            <tr key={name}>
              <td>{name}</td>
              <td>
                <span class={`badge ${state === "enforced" ? "good" : state === "missing" ? "bad" : "warn"}`}>
                  {accepted ? `${state}, accepted` : state}
                </span>
              </td>
              <td>
                {detail}
                {advice && <p class="help">{advice}</p>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
