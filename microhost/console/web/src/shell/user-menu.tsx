import { LogOut, Moon, Sun, SunMoon } from "lucide-preact";
import { IconButton } from "../components/button";
import { type Theme, theme } from "../lib/preferences";
import { logOut, session } from "../lib/session";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const PICTURES = { system: SunMoon, light: Sun, dark: Moon };

/** The theme, who is logged in, and the way out. */
export function UserMenu() {
  const Picture = PICTURES[theme.value];
  return (
    <div class="user">
      <IconButton label={`Theme: ${theme.value}`} onClick={() => (theme.value = NEXT[theme.value])}>
        <Picture size={18} aria-hidden="true" />
      </IconButton>
      <span class="soft cut name">{session.value?.user.name}</span>
      <IconButton label="Log out" onClick={() => void logOut()}>
        <LogOut size={18} aria-hidden="true" />
      </IconButton>
    </div>
  );
}
