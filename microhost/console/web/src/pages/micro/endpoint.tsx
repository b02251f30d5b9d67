import { Copy } from "../../components/showing";
import styles from "./micro.module.css";

/** The address that a Micro answers at. */
export function Endpoint({ address }: { address: string }) {
  return (
    <span class={styles.endpoint}>
      <a href={address} target="_blank" rel="noreferrer">
        {address.replace(/^https?:\/\//, "")}
      </a>
      <Copy text={address} label="Copy the address" />
    </span>
  );
}
