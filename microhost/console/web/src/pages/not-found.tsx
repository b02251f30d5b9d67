import { Link } from "wouter-preact";
import { Empty } from "../components/feedback";
import { Page } from "../components/page";

export function NotFound() {
  return (
    <Page title="There is nothing here">
      <Empty title="This address leads nowhere.">
        <Link href="/" class="button">
          To the projects
        </Link>
      </Empty>
    </Page>
  );
}
