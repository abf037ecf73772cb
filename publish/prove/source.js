// Where published objects are read from. Nothing that comes from there is
// trusted. get(key) answers bytes, or null where there is no such object; any
// error says that nothing is known about it.

import { isKey } from "./manifest.js";

const mostBytes = 1 << 30; // a county's table of a large election has some 100 MB

export class Website {
  constructor(base, options = {}) {
    this.base = new URL(base);
    if (!this.base.pathname.endsWith("/")) this.base.pathname += "/";
    this.options = options;
  }

  async get(key) {
    if (!isKey(key)) throw new Error(`${key}: is no key`);
    const path = key.split("/").map(encodeURIComponent).join("/");
    const answer = await fetch(new URL(path, this.base), this.options);
    if ([403, 404, 410].includes(answer.status)) {
      await answer.body?.cancel(); // S3 answers 403 where listing is not allowed
      return null;
    }
    if (!answer.ok) throw new Error(`getting ${key}: the server answered ${answer.status}`);
    return bounded(answer, key);
  }
}

async function bounded(answer, key) {
  const parts = [];
  let size = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size > mostBytes) {
      await reader.cancel();
      throw new Error(`getting ${key}: more than ${mostBytes} bytes`);
    }
  }
  if (parts.length === 1) return parts[0];
  const out = new Uint8Array(size);
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}
