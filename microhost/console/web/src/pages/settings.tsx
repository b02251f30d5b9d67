import { useLocation } from "wouter-preact";
import { Page } from "../components/page";
import { LinkTabs } from "../components/tabs";
import { session } from "../lib/session";
import { NotFound } from "./not-found";
import { HostTab } from "./settings/host";
import { PasswordTab } from "./settings/password";
import { TokensTab } from "./settings/tokens";
import { UsersTab } from "./settings/users";

const AT = "/settings";
const TOKENS = `${AT}/tokens`;

/** What belongs to the user and to the host rather than to a project. */
export default function Settings() {
  const [here] = useLocation();
  const isOwner = session.value?.user.role === "owner";
  const tabs = [
    { to: TOKENS, name: "Access tokens", part: TokensTab },
    { to: `${AT}/password`, name: "Password", part: PasswordTab },
    ...(isOwner ? [{ to: `${AT}/users`, name: "Users", part: UsersTab }] : []),
    { to: `${AT}/host`, name: "Host", part: HostTab },
  ];
  const chosen = tabs.find(({ to }) => to === (here === AT ? TOKENS : here));
  if (!chosen) return <NotFound />;
  return (
    <Page title="Settings">
      <LinkTabs
        label="Parts of the settings"
        tabs={tabs.map(({ to, name }) => ({ to: to === TOKENS ? AT : to, name }))}
      />
      <chosen.part />
    </Page>
  );
}
