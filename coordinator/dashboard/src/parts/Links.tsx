import { Fragment, type ComponentChildren } from "preact";

export const RolloutLink = ({ number }: { number: number }) => <a class="number" href={`/rollouts/${number}`}>#{number}</a>;

export const NodeLink = ({ node }: { node: string }) => (
  <a class="name" href={`/nodes/${encodeURIComponent(node)}`}>{breakable(node)}</a>
);

/** Long names may break after what separates their parts, and nowhere else. */
export function breakable(name: string): ComponentChildren {
  return name.split(/(?<=[-._/])/).map((part, i) => <Fragment key={i}>{i > 0 && <wbr />}{part}</Fragment>);
}
