//! One kind of table for everything. On a phone each row is a card; the roles are written out,
//! because a browser forgets that a table is one when its display changes.

import type { ComponentChildren } from "preact";

export type Column<R> = { head: string; cell: (row: R) => ComponentChildren; class?: string };
type Props<R> = { caption: string; columns: Column<R>[]; rows: readonly R[]; id: (row: R) => string | number; empty: string; stale?: boolean };

export function Table<R>({ caption, columns, rows, id, empty, stale = false }: Props<R>) {
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  return (
    <table role="table" class={stale ? "table stale" : "table"} aria-busy={stale}>
      <caption class="unseen">{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(({ head, class: name }) => <th key={head} role="columnheader" scope="col" class={name}>{head}</th>)}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr role="row" key={id(row)}>
            {columns.map(({ head, cell, class: name }) => <td key={head} role="cell" class={name} data-head={head}>{cell(row)}</td>)}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
