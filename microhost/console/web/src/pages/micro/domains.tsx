import { Globe, RefreshCw, Trash2 } from "lucide-preact";
import { useState } from "preact/hooks";
import { Button, IconButton } from "../../components/button";
import { confirm } from "../../components/dialog";
import { Failure, Show, toast } from "../../components/feedback";
import { TextField } from "../../components/field";
import { Card } from "../../components/page";
import { Time } from "../../components/showing";
import { api, url } from "../../lib/api";
import { type Loaded, useAction, useLoad } from "../../lib/loading";
import type { Domain, Micro } from "../../lib/types";
import { Endpoint } from "./endpoint";
import styles from "./micro.module.css";
import { apiOf, type PartProps } from "./place";

const MOST = 5;
const EVERY_MS = 15_000;
const BADGES = { pending: "warn", active: "good", failed: "bad" };

/** The names that the Micro answers to. */
export default function Domains({ micro, reload }: PartProps) {
  return (
    <>
      <SubDomain key={micro.subdomain} micro={micro} reload={reload} />
      <Own micro={micro} />
    </>
  );
}

function SubDomain({ micro, reload }: PartProps) {
  const [label, setLabel] = useState(micro.subdomain ?? "");
  const [before, after] = partsAround(micro);
  const setting = useAction(async (subdomain: string | null) => {
    await api.patch(apiOf(micro), { subdomain });
    await reload();
    toast(subdomain ? `The Micro answers at ${subdomain}${after}.` : "The sub-domain was removed.");
  });
  const remove = async () => {
    const body = (
      <p>Nothing answers at {micro.subdomain_endpoint} any more. The address that was given stays.</p>
    );
    if (await confirm({ title: "Remove the sub-domain?", body, action: "Remove", danger: true }))
      await setting.run(null);
  };
  return (
    <Card
      title="Sub-domain"
      help="The Micro answers at the address that it was given, and at one that you choose."
    >
      <div class="stack">
        <dl class="facts">
          <dt>Given</dt>
          <dd>
            <Endpoint address={micro.endpoint} />
          </dd>
          <dt>Chosen</dt>
          <dd>
            {micro.subdomain_endpoint ? (
              <Endpoint address={micro.subdomain_endpoint} />
            ) : (
              <span class="soft">none</span>
            )}
          </dd>
        </dl>
        <form
          class={styles.inline}
          onSubmit={(event) => {
            event.preventDefault();
            void setting.run(label.trim().toLowerCase());
          }}
        >
          <TextField
            label="Sub-domain of your choice"
            help={
              <>
                At least 4 letters, digits, “-” and “_”: {before}
                <strong>{label.trim().toLowerCase() || "name"}</strong>
                {after}
              </>
            }
            error={setting.error?.sentences.join(" ")}
            required
            spellcheck={false}
            value={label}
            onValue={(value) => {
              setLabel(value);
              setting.clear();
            }}
          />
          <Button type="submit" kind="main" busy={setting.busy}>
            Set
          </Button>
          {micro.subdomain && (
            <Button kind="danger" onClick={() => void remove()}>
              Remove
            </Button>
          )}
        </form>
      </div>
    </Card>
  );
}

/** What stands before and after the label in the Micro's own address. */
function partsAround({ endpoint, path }: Micro): [string, string] {
  const at = endpoint.indexOf(path);
  return [endpoint.slice(0, at), endpoint.slice(at + path.length)];
}

type List = { domains: Domain[] };

function Own({ micro }: { micro: Micro }) {
  const domains = useLoad<List>(`${apiOf(micro)}/domains`, { everyMs: EVERY_MS });
  const count = domains.data?.domains.length ?? 0;
  return (
    <Card title="Custom domains" help={`Up to ${MOST} domains of your own lead to this Micro.`}>
      <div class="stack">
        <Show of={domains} lines={2}>
          {({ domains: all }) => (all.length ? <Table micro={micro} all={all} domains={domains} /> : null)}
        </Show>
        {domains.data && count < MOST && <Add micro={micro} domains={domains} />}
        <ol class={`help ${styles.steps}`}>
          <li>Add the domain here.</li>
          <li>
            Where the domain was bought, point it to this server: an <strong>A record</strong> with its IP
            address, or a CNAME to its name. Turn a proxy such as Cloudflare's off. If it has a CAA record,
            that must allow the authority that this server's certificates come from.
          </li>
          <li>
            It is looked up again and again. Once it leads here it is active and gets a certificate; a new
            record may take up to a day to be known everywhere.
          </li>
        </ol>
      </div>
    </Card>
  );
}

function Table({ micro, all, domains }: { micro: Micro; all: Domain[]; domains: Loaded<List> }) {
  const removing = useAction(async (domain: string) => {
    await api.delete(`${apiOf(micro)}/domains/${url`${domain}`}`);
    await domains.reload();
  });
  const checking = useAction(async (domain: string) => {
    await api.post(`${apiOf(micro)}/domains/${url`${domain}`}/check`);
    await domains.reload();
    toast(`${domain} was looked up.`);
  });
  const remove = async (domain: string) => {
    const body = <p>Requests to it are answered by nobody any more.</p>;
    if (!(await confirm({ title: `Remove ${domain}?`, body, action: "Remove", danger: true }))) return;
    if (await removing.run(domain)) toast(`${domain} was removed.`);
  };
  return (
    <>
      <Failure error={removing.error ?? checking.error} />
      <div class="table">
        <table>
          <thead>
            <tr>
              <th>Domain</th>
              <th>State</th>
              <th>A record</th>
              <th class="roomy">Added</th>
              <th class="roomy">Checked</th>
              <th>
                <span class="visually-hidden">Actions</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {all.map(({ domain, state, reason, points_to, created_at, checked_at }) => (
              <tr key={domain}>
                <td class="mono">{domain}</td>
                <td>
                  <span class={`badge dot ${BADGES[state]}`}>{state}</span>
                  {reason && <div class="help">{reason}</div>}
                </td>
                <td class="mono">{points_to}</td>
                <td class="roomy">
                  <Time at={created_at} />
                </td>
                <td class="roomy">{checked_at ? <Time at={checked_at} /> : "not yet"}</td>
                <td class="number">
                  <IconButton
                    small
                    label={`Check ${domain} again`}
                    disabled={checking.busy}
                    onClick={() => void checking.run(domain)}
                  >
                    <RefreshCw size={16} aria-hidden="true" />
                  </IconButton>
                  <IconButton small label={`Remove ${domain}`} onClick={() => void remove(domain)}>
                    <Trash2 size={16} aria-hidden="true" />
                  </IconButton>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Add({ micro, domains }: { micro: Micro; domains: Loaded<List> }) {
  const [domain, setDomain] = useState("");
  const adding = useAction(async () => {
    const name = domain.trim().toLowerCase();
    await api.put(`${apiOf(micro)}/domains/${url`${name}`}`);
    await domains.reload();
    setDomain("");
    toast(`${name} was added.`);
  });
  return (
    <form
      class={styles.inline}
      onSubmit={(event) => {
        event.preventDefault();
        void adding.run();
      }}
    >
      <TextField
        label="Domain"
        placeholder="blog.example.org"
        error={adding.error?.sentences.join(" ")}
        required
        spellcheck={false}
        value={domain}
        onValue={(value) => {
          setDomain(value);
          adding.clear();
        }}
      />
      <Button type="submit" busy={adding.busy}>
        <Globe size={16} aria-hidden="true" /> Add
      </Button>
    </form>
  );
}
