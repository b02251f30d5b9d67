import { useEffect, useState } from "preact/hooks";
import { useSearchParams } from "wouter-preact";
import { Button } from "../../components/button";
import { Show } from "../../components/feedback";
import { TextField } from "../../components/field";
import { Card, Page } from "../../components/page";
import type { ApiError } from "../../lib/api";
import { api } from "../../lib/api";
import type { Loaded } from "../../lib/loading";
import { asApiError } from "../../lib/loading";
import type { Repository } from "../../lib/types";
import { Plan } from "./plan";

/** Where the Deploy to Deta button leads (`?repo=`): what a repository asks for, and its deployment. */
export default function DeployPage() {
  const [search, setSearch] = useSearchParams();
  const repo = search.get("repo") ?? "";
  const [typed, setTyped] = useState(repo);
  useEffect(() => setTyped(repo), [repo]);
  const found = useRepository(repo);
  return (
    <Page title="Deploy a repository">
      <Card>
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            if (typed.trim() === repo) void found.reload();
            else setSearch({ repo: typed.trim() });
          }}
        >
          <TextField
            label="Repository"
            help="The address of a public git repository, or of one of its branches, on GitHub, GitLab, Bitbucket or elsewhere."
            type="text"
            inputMode="url"
            spellcheck={false}
            required
            value={typed}
            onValue={setTyped}
          />
          <footer class="row end">
            <Button type="submit" kind={found.data ? "plain" : "main"} busy={found.loading}>
              {repo && typed.trim() === repo ? "Look again" : "Look at it"}
            </Button>
          </footer>
        </form>
      </Card>
      {repo && (
        <Show of={found} lines={6}>
          {(repository) => <Plan key={`${repo} ${repository.commit}`} repo={repo} repository={repository} />}
        </Show>
      )}
    </Page>
  );
}

/** Look at a repository. It is a POST, which only the console's own pages can make: no picture or frame elsewhere does. */
function useRepository(repo: string): Loaded<Repository> {
  const [state, setState] = useState<{ repo: string; data?: Repository; error?: ApiError }>({ repo: "" });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!repo) return;
    let current = true;
    const keep = (found: { data?: Repository; error?: ApiError }) => current && setState({ repo, ...found });
    setState({ repo });
    api.post<Repository>("/repositories/look", { repo }).then(
      (data) => keep({ data }),
      (error) => keep({ error: asApiError(error) }),
    );
    return () => {
      current = false;
    };
  }, [repo, turn]);
  const { data, error } = state.repo === repo ? state : {};
  return {
    data,
    error,
    loading: repo !== "" && !data && !error,
    reload: async () => setTurn((former) => former + 1),
    replace: (data) => setState({ repo, data }),
  };
}
