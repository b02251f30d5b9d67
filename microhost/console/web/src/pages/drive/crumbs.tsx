import { ChevronRight } from "lucide-preact";
import { Link } from "wouter-preact";
import style from "./drive.module.css";
import { addressOf, crumbsOf } from "./names";

/** Where one is in a Drive, and the way back. */
export function Crumbs({ drive, base, prefix }: { drive: string; base: string; prefix: string }) {
  const all = [{ label: drive, prefix: "" }, ...crumbsOf(prefix)];
  return (
    <nav aria-label="Folders">
      <ol class={style.crumbs}>
        {all.map((each, index) => {
          const current = index === all.length - 1;
          return (
            <li key={each.prefix}>
              {index > 0 && <ChevronRight size={14} aria-hidden="true" />}
              <Link href={addressOf(base, each.prefix)} aria-current={current ? "location" : undefined}>
                {each.label}
              </Link>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}
