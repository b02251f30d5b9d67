import type { Headers } from "./headers";
import { isMasked } from "./headers";
import { Scrolled } from "./scrolled";
import styles from "./visor.module.css";

/** The headers as they were; of hidden ones only the names were stored. */
export function HeaderTable({ headers, masked, of }: { headers: Headers; masked: string[]; of: string }) {
  if (headers.length === 0) return <p class="soft">No headers.</p>;
  return (
    <Scrolled label={`Headers of the ${of}`}>
      <table class={styles.headers}>
        <tbody>
          {headers.map(([name, value], at) => (
            <tr key={at}>
              <th scope="row">{name}</th>
              <td class="mono">
                {isMasked(masked, name) ? (
                  <span class="badge" title="It looks like a credential: its value was not stored">
                    hidden
                  </span>
                ) : (
                  value
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Scrolled>
  );
}
