// A reader of JSON (RFC 8259) that refuses whatever could be read in two ways:
// members that stand twice, numbers in another spelling than plain digits,
// nulls, and names with escapes. JSON.parse lets all of these through, and what
// counts must not depend on whose reader it is.

import { text } from "./bytes.js";

const [quote, backslash, comma, colon, openList, closeList, openObject, closeObject] = [..."\"\\,:[]{}"].map((c) => c.charCodeAt(0));

// A name or an identifier has less; what is called as a function's arguments
// must not be long.
const longestToken = 1 << 12;

// parse reads one value. Strings that are the value of a member named in free may
// hold anything, all others printable ASCII without escapes; free null: all may.
export function parse(bytes, free = null) {
  if (bytes.some((c) => c > 0x7e)) text(bytes); // throws where it is no UTF-8
  const r = new Reader(bytes, free);
  const v = r.value("");
  r.space();
  if (r.at !== bytes.length) throw new Error(`data after the value at byte ${r.at}`);
  return v;
}

class Reader {
  constructor(bytes, free) {
    this.b = bytes;
    this.free = free;
    this.at = 0;
  }

  fail(want) {
    throw new Error(`want ${want} at byte ${this.at}`);
  }

  space() {
    for (let c = this.b[this.at]; c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09; c = this.b[++this.at]);
  }

  next(c) {
    if (this.b[this.at] !== c) this.space();
    if (this.b[this.at] !== c) return false;
    this.at++;
    return true;
  }

  value(name) {
    this.space();
    switch (this.b[this.at]) {
      case openObject:
        return this.object();
      case openList:
        return this.list(name);
      case quote:
        return this.free === null || this.free.includes(name) ? this.string() : this.token();
      case 0x74: // true, false
        return this.word("true", true);
      case 0x66:
        return this.word("false", false);
    }
    return this.number();
  }

  word(spelled, v) {
    for (let i = 0; i < spelled.length; i++) if (this.b[this.at + i] !== spelled.charCodeAt(i)) this.fail("a value");
    this.at += spelled.length;
    return v;
  }

  object() {
    this.at++;
    const out = {};
    if (this.next(closeObject)) return out;
    for (;;) {
      this.space();
      const name = this.token();
      if (Object.hasOwn(out, name) || name === "__proto__") throw new Error(`member ${JSON.stringify(name)} stands twice, or cannot be`);
      if (!this.next(colon)) this.fail("a colon");
      out[name] = this.value(name);
      if (this.next(closeObject)) return out;
      if (!this.next(comma)) this.fail("a comma or the object's end");
    }
  }

  list(name) {
    this.at++;
    const out = [];
    if (this.next(closeList)) return out;
    for (;;) {
      out.push(this.value(name));
      if (this.next(closeList)) return out;
      if (!this.next(comma)) this.fail("a comma or the list's end");
    }
  }

  // number reads a whole number of 0 or more in its only spelling.
  number() {
    const from = this.at;
    let n = 0;
    for (let d = this.b[this.at] - 0x30; d >= 0 && d <= 9; d = this.b[++this.at] - 0x30) n = n * 10 + d;
    const c = this.b[this.at];
    if (this.at === from || (this.b[from] === 0x30 && this.at > from + 1) || n > Number.MAX_SAFE_INTEGER || c === 0x2e || c === 0x65 || c === 0x45) {
      this.at = from;
      this.fail("a value; numbers are whole, of 0 or more, in plain digits");
    }
    return n;
  }

  token() {
    if (this.b[this.at] !== quote) this.fail("a string");
    const from = ++this.at;
    for (let c = this.b[this.at]; c !== quote; c = this.b[++this.at]) {
      if (!(c >= 0x20 && c <= 0x7e) || c === backslash || this.at - from > longestToken) this.fail("a string of printable ASCII without escapes");
    }
    return String.fromCharCode.apply(null, this.b.subarray(from, this.at++));
  }

  string() {
    const from = this.at++;
    while (this.at < this.b.length && this.b[this.at] !== quote) this.at += this.b[this.at] === backslash ? 2 : 1;
    if (this.at >= this.b.length) this.fail("the string's end");
    return JSON.parse(text(this.b.subarray(from, ++this.at))).toWellFormed(); // half a pair has no UTF-8
  }
}

// optional marks a member that may be missing.
export const optional = (check) => Object.assign((v) => check(v), { optional: true });

// shape holds a parsed object against its members, name -> check. It throws where
// one is unknown, missing or wrong, and names it.
export function shape(v, members) {
  if (v === null || typeof v !== "object" || Array.isArray(v)) throw new Error(": want an object");
  for (const name in v) if (!Object.hasOwn(members, name)) throw new Error(`/${name}: unknown member`);
  for (const name in members) {
    const check = members[name];
    const value = v[name];
    if (value === undefined) {
      if (!check.optional) throw new Error(`/${name}: is missing`);
    } else if (!within(name, check, value)) {
      throw new Error(`/${name}: is not what it must be`);
    }
  }
  return true;
}

// within puts a name before what a check inside of it says.
function within(name, check, v) {
  try {
    return check(v);
  } catch (err) {
    throw new Error(`/${name}${err.message}`);
  }
}

export const object = (members) => (v) => shape(v, members);

// listOf checks each element of a list.
export const listOf = (check, least = 0, most = Infinity) => (v) =>
  Array.isArray(v) && v.length >= least && v.length <= most && v.every((x, i) => within(i, check, x));
