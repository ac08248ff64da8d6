//! A command that can be copied. Where the page may not write to the clipboard (plain HTTP
//! beyond loopback), it selects the command instead, so that one key is left to press.

import { useRef, useState } from "preact/hooks";

const THANKS_MS = 1_500;

export function Command({ text }: { text: string }) {
  const code = useRef<HTMLElement>(null);
  const [copied, setCopied] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied("copied");
    } catch {
      if (code.current !== null) getSelection()?.selectAllChildren(code.current);
      setCopied("selected");
    }
    setTimeout(() => setCopied(""), THANKS_MS);
  };
  return (
    <span class="command">
      <code ref={code}>{text}</code>
      <button type="button" onClick={copy} aria-label={`Copy: ${text}`}>{copied || "copy"}</button>
      <span class="unseen" role="status">{copied}</span>
    </span>
  );
}
