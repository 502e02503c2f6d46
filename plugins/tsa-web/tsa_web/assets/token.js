// Reads a TimeStampResp or a bare token (RFC 3161 2.4.2, RFC 5652), and certificates (RFC 5280). Judges nothing.

import { DerError, equal, read } from "./der.js";

export const OID = {
  signedData: "1.2.840.113549.1.7.2",
  tstInfo: "1.2.840.113549.1.9.16.1.4",
  contentType: "1.2.840.113549.1.9.3",
  messageDigest: "1.2.840.113549.1.9.4",
  signingCertificate: "1.2.840.113549.1.9.16.2.12",
  signingCertificateV2: "1.2.840.113549.1.9.16.2.47",
  extendedKeyUsage: "2.5.29.37",
  timeStamping: "1.3.6.1.5.5.7.3.8",
};

export const SHA256 = "2.16.840.1.101.3.4.2.1";

export const HASHES = {
  "1.3.14.3.2.26": "SHA-1",
  [SHA256]: "SHA-256",
  "2.16.840.1.101.3.4.2.2": "SHA-384",
  "2.16.840.1.101.3.4.2.3": "SHA-512",
};

const FAILURES = {
  0: "badAlg", 2: "badRequest", 5: "badDataFormat", 14: "timeNotAvailable", 15: "unacceptedPolicy",
  16: "unacceptedExtension", 17: "addInfoNotAvailable", 25: "systemFailure",
};

const NAMES = {
  "2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.5": "serialNumber",
};

// A reply that refuses.
export class Refusal extends Error {}

// Returns the token in a reply, or in a file that is one already.
export function readReply(bytes) {
  const outer = read(bytes).as(0x30).children;
  if (!outer.length) throw new DerError("it is empty");
  if (outer[0].tag === 0x06) return readToken(bytes);
  const info = outer[0].as(0x30).children;
  const status = Number(info[0].integer);
  if (status > 1) {
    const texts = info.filter((node) => node.tag === 0x30).flatMap((node) => node.children.map((text) => text.text));
    const bits = info.find((node) => node.tag === 0x03);
    throw new Refusal([texts.join(" "), bits ? `(${failure(bits.content)})` : ""].filter(Boolean).join(" ") || "no reason is given");
  }
  if (outer.length < 2) throw new DerError("it grants, but has no token");
  return readToken(outer[1].raw);
}

function failure(bits) {
  for (let index = 0; index < 8 * (bits.length - 1); index++) {
    if (bits[1 + (index >> 3)] & (0x80 >> (index & 7))) return FAILURES[index] ?? `failInfo ${index}`;
  }
  return "no failInfo";
}

function readToken(bytes) {
  const [type, explicit] = read(bytes).as(0x30).children;
  if (type.oid !== OID.signedData) throw new DerError("it is not signed data");
  const parts = explicit.as(0xa0).children[0].as(0x30).children;
  const content = parts[2].as(0x30).children;
  if (content[0].oid !== OID.tstInfo) throw new DerError("what is signed is not a timestamp");
  const tstBytes = content[1].as(0xa0).children[0].as(0x04).content;
  const certificates = parts.filter((node) => node.tag === 0xa0)
    .flatMap((node) => node.children).filter((node) => node.tag === 0x30).map((node) => readCertificate(node.raw));
  const signers = parts[parts.length - 1].as(0x31).children;
  if (signers.length !== 1) throw new DerError("it does not have exactly one signature");
  return { bytes, tstBytes, tst: readTst(tstBytes), certificates, signer: readSigner(signers[0]) };
}

function readTst(bytes) {
  const nodes = read(bytes).as(0x30).children;
  const [, policy, imprint, serial, time] = nodes;
  const [algorithm, digest] = imprint.as(0x30).children;
  const rest = nodes.slice(5);
  const accuracy = rest.find((node) => node.tag === 0x30);
  const nonce = rest.find((node) => node.tag === 0x02);
  return {
    policy: policy.oid,
    hashOid: algorithm.as(0x30).children[0].oid,
    digest: digest.as(0x04).content,
    serial: serial.integer,
    time: time.as(0x18).time,
    accuracy: accuracy ? readAccuracy(accuracy) : null,
    nonce: nonce ? nonce.integer : null,
  };
}

function readAccuracy(node) {
  let seconds = 0;
  for (const part of node.children) {
    seconds += Number(part.integer) * ({ 0x02: 1, 0x80: 1e-3, 0x81: 1e-6 }[part.tag] ?? 0);
  }
  return seconds;
}

function readSigner(node) {
  const parts = node.as(0x30).children;
  const [, id, digestAlgorithm, attributes, signatureAlgorithm, signature] = parts;
  const found = new Map(attributes.as(0xa0).children.map((each) => {
    const [type, values] = each.as(0x30).children;
    return [type.oid, values.as(0x31).children[0]];
  }));
  // What is signed has the tag of a SET (RFC 5652 5.4).
  const signed = attributes.raw.slice();
  signed[0] = 0x31;
  return {
    id,
    digestOid: digestAlgorithm.as(0x30).children[0].oid,
    attributes: found,
    signed,
    algorithm: signatureAlgorithm.as(0x30),
    signature: signature.as(0x04).content,
  };
}

// Says whether a certificate is the one that a SignerInfo names by issuer and serial number, or by key identifier.
export function isNamed(certificate, id) {
  if (id.tag !== 0x30) return true; // by a key identifier: the signing-certificate attribute decides
  const [issuer, serial] = id.children;
  return equal(issuer.raw, certificate.issuer.raw) && serial.integer === certificate.serial;
}

export function readCertificate(bytes) {
  const [tbs, algorithm, signature] = read(bytes).as(0x30).children;
  const parts = tbs.as(0x30).children;
  if (parts[0].tag === 0xa0) parts.shift();
  const [serial, , issuer, validity, subject, key] = parts;
  const explicit = parts.find((node) => node.tag === 0xa3);
  const extensions = new Map((explicit ? explicit.children[0].as(0x30).children : []).map((node) => {
    const fields = node.as(0x30).children;
    return [fields[0].oid, { critical: fields.length > 2, value: fields[fields.length - 1].as(0x04).content }];
  }));
  const [notBefore, notAfter] = validity.as(0x30).children;
  return {
    bytes,
    tbs: tbs.raw,
    algorithm: algorithm.as(0x30),
    signature: signature.as(0x03).content.subarray(1),
    serial: serial.integer,
    issuer,
    subject,
    name: nameText(subject),
    notBefore: notBefore.time.date,
    notAfter: notAfter.time.date,
    key: key.as(0x30),
    extensions,
  };
}

export function nameText(name) {
  const parts = name.as(0x30).children.flatMap((set) => set.as(0x31).children).map((each) => {
    const [type, value] = each.as(0x30).children;
    return `${NAMES[type.oid] ?? type.oid}=${value.text}`;
  });
  return parts.reverse().join(", ") || "without a name";
}

export function serialText(serial) {
  return serial < 0n ? `-${(-serial).toString(16)}` : serial.toString(16);
}
