//! Where we are: the heading that takes the focus when the page turns, and the window's title.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { turned } from "../route.ts";
import { link } from "../stream.ts";

export function Title({ text, children }: { text: string; children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const lost = link.value.state === "lost";
  useEffect(() => {
    document.title = `${lost ? "No contact · " : ""}${text}${text === "Fleet" ? "" : " · Fleet"}`;
  }, [text, lost]);
  useEffect(() => {
    // Not on the first page: whoever opens it starts at its top, with the skip link.
    if (turned.peek() > 0) heading.current?.focus({ preventScroll: true });
  }, []);
  return <h1 ref={heading} tabIndex={-1}>{children ?? text}</h1>;
}
