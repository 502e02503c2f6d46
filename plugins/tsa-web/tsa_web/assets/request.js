// TimeStampReq (RFC 3161 2.4.1).

import { concat, tlv, unsigned } from "./der.js";

const SHA256 = [0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00];

// A request for a SHA-256 digest, with certificates, and its nonce.
export function newRequest(digest) {
  const random = crypto.getRandomValues(new Uint8Array(8));
  const imprint = tlv(0x30, SHA256, tlv(0x04, digest));
  const der = tlv(0x30, tlv(0x02, [1]), imprint, unsigned(random), tlv(0x01, [0xff]));
  return { der, nonce: BigInt(`0x${Array.from(concat([random]), (b) => b.toString(16).padStart(2, "0")).join("")}`) };
}
