// A bucket that is a directory.

import { open, realpath } from "node:fs/promises";
import { join, sep } from "node:path";

import { isKey } from "./manifest.js";

const mostBytes = 1 << 30;

export class Directory {
  static async open(path) {
    const d = new Directory();
    d.root = await realpath(path);
    return d;
  }

  // get reads a file without leaving the directory.
  async get(key) {
    if (!isKey(key)) throw new Error(`${key}: is no key`);
    let file;
    try {
      const path = await realpath(join(this.root, key));
      if (!path.startsWith(this.root + sep)) throw new Error(`${key}: leads out of the directory`);
      file = await open(path);
      const about = await file.stat();
      if (about.isDirectory()) return null; // only the beginning of keys
      if (about.size > mostBytes) throw new Error(`${key}: more than ${mostBytes} bytes`);
      return new Uint8Array(await file.readFile());
    } catch (err) {
      if (err.code === "ENOENT" || err.code === "ENOTDIR") return null;
      throw err;
    } finally {
      await file?.close();
    }
  }
}
