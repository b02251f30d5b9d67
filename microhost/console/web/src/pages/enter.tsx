import { useEffect } from "preact/hooks";
import { Link, useSearchParams } from "wouter-preact";
import { Failure } from "../components/feedback";
import { api } from "../lib/api";
import { useAction } from "../lib/loading";

/** Lead a browser that is logged in here on into the closed Micro it came from (Deta Access). */
export default function Enter() {
  const [search] = useSearchParams();
  const entering = useAction(async () => {
    const asked = { to: search.get("to") ?? "", state: search.get("state") ?? "" };
    const { location: address } = await api.post<{ location: string }>("/enter", asked);
    location.replace(address);
  });
  useEffect(() => void entering.run(), []);
  useEffect(() => {
    document.title = "Opening a Micro · microhost";
  }, []);
  return (
    <div class="alone">
      <main>
        <h1>Opening the Micro</h1>
        {entering.error ? <Failure error={entering.error} /> : <p role="status">You are let in.</p>}
        <Link href="/">To the console</Link>
      </main>
    </div>
  );
}
