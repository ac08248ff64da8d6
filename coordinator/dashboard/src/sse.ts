//! Reads a text/event-stream out of chunks of text. Pure, but for what is left of the last
//! chunk. We read the stream ourselves, and not through EventSource, which hides comments:
//! they are the only sign of life of a fleet at rest.

export type Message = { event: string; data: string; id: string | null };

export class Reader {
  #rest = "";
  #event = "message";
  #data: string[] = [];
  #id: string | null = null;

  feed(chunk: string): Message[] {
    const messages: Message[] = [];
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const message = this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
      if (message !== null) messages.push(message);
    }
    return messages;
  }

  #line(line: string): Message | null {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
    return null;
  }

  #end(): Message | null {
    const message = { event: this.#event, data: this.#data.join("\n"), id: this.#id };
    const empty = this.#data.length === 0;
    this.#event = "message";
    this.#data = [];
    this.#id = null;
    return empty ? null : message;
  }
}
