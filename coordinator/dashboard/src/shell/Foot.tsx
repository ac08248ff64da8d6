import { useStatus } from "../status.ts";
import { count } from "../format.ts";

const ZONE = new Intl.DateTimeFormat().resolvedOptions().timeZone;

export function Foot() {
  const coordinator = useStatus().data?.coordinator;
  return (
    <footer class="foot">
      <span>times in {ZONE}{ZONE !== "UTC" && ", UTC where you point"}</span>
      {coordinator !== undefined && <span>coordinator {coordinator.version}, term {coordinator.term}, position {count(coordinator.position)}</span>}
      <a href="/api/v1/openapi.json">API</a>
    </footer>
  );
}
