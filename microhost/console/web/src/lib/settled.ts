import { useEffect, useState } from "preact/hooks";

const SETTLED_MS = 300;

/** Give a value that changes by every key once it has been still for a moment. */
export function useSettled<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), SETTLED_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
