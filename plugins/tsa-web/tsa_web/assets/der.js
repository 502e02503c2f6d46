// DER: a strict reader, and what is needed to write a request (X.690).

export class DerError extends Error {}

export class Node {
  constructor(bytes, start, tag, from, end) {
    Object.assign(this, { bytes, start, tag, from, end });
  }

  get raw() { return this.bytes.subarray(this.start, this.end); }
  get content() { return this.bytes.subarray(this.from, this.end); }

  get children() {
    const found = [];
    for (let at = this.from; at < this.end;) {
      const node = readAt(this.bytes, at, this.end);
      found.push(node);
      at = node.end;
    }
    return found;
  }

  // The content of a node that must have this tag.
  as(tag) {
    if (this.tag !== tag) throw new DerError(`expected the tag ${tag}, not ${this.tag}`);
    return this;
  }

  get oid() {
    const bytes = this.as(0x06).content;
    const parts = [];
    let value = 0n;
    for (const byte of bytes) {
      value = (value << 7n) | BigInt(byte & 0x7f);
      if (!(byte & 0x80)) { parts.push(value); value = 0n; }
    }
    if (!parts.length || bytes[bytes.length - 1] & 0x80) throw new DerError("an OBJECT IDENTIFIER is cut off");
    const first = parts[0] < 80n ? parts[0] / 40n : 2n;
    return [first, parts[0] - first * 40n, ...parts.slice(1)].join(".");
  }

  get integer() {
    const { content } = this;
    if (this.tag !== 0x02 && this.tag !== 0x80 && this.tag !== 0x81) throw new DerError("expected an INTEGER");
    if (!content.length) throw new DerError("an INTEGER is empty");
    const value = BigInt(`0x${hex(content)}`);
    return content[0] & 0x80 ? value - (1n << BigInt(8 * content.length)) : value;
  }

  get text() {
    if (this.tag === 0x1e) return new TextDecoder("utf-16be").decode(this.content);
    return new TextDecoder().decode(this.content);
  }

  // GeneralizedTime or UTCTime, in UTC. `fraction` keeps digits that Date does not.
  get time() {
    const found = /^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d+)?Z$/.exec(this.text);
    const short = this.tag === 0x17;
    if ((!short && this.tag !== 0x18) || !found || (found[1].length === 2) !== short) throw new DerError("no UTC time");
    const year = short ? Number(found[1]) + (Number(found[1]) < 50 ? 2000 : 1900) : Number(found[1]);
    const [month, day, hour, minute, second] = found.slice(2, 7).map(Number);
    const milliseconds = Math.floor(Number(found[7] ?? 0) * 1000);
    return { date: new Date(Date.UTC(year, month - 1, day, hour, minute, second, milliseconds)), fraction: found[7] ?? "" };
  }
}

function readAt(bytes, start, limit) {
  if (start + 2 > limit) throw new DerError("it is cut off");
  const tag = bytes[start];
  if ((tag & 0x1f) === 0x1f) throw new DerError("a tag has several bytes");
  let length = bytes[start + 1];
  let from = start + 2;
  if (length === 0x80) throw new DerError("a length is indefinite, which is not DER");
  if (length > 0x80) {
    const count = length & 0x7f;
    if (count > 4 || from + count > limit) throw new DerError("a length is out of bounds");
    length = 0;
    for (let index = 0; index < count; index++) length = length * 256 + bytes[from++];
  }
  if (from + length > limit) throw new DerError("it is cut off");
  return new Node(bytes, start, tag, from, from + length);
}

// The one value that the bytes are.
export function read(bytes) {
  const node = readAt(bytes, 0, bytes.length);
  if (node.end !== bytes.length) throw new DerError("something follows it");
  return node;
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function equal(one, other) {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}

export function concat(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

export function tlv(tag, ...parts) {
  const content = concat(parts);
  const size = content.length;
  if (size < 128) return concat([[tag, size], content]);
  const digits = [];
  for (let rest = size; rest; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return concat([[tag, 0x80 | digits.length, ...digits], content]);
}

// A positive INTEGER of these big-endian bytes.
export function unsigned(bytes) {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const rest = bytes.subarray(from);
  return tlv(0x02, rest[0] & 0x80 ? concat([[0], rest]) : rest);
}
