// Asks this server: its state, its certificates, and for timestamps. All addresses are relative to the page.

import { readCertificate } from "./token.js";
import { equal } from "./der.js";

const SECONDS = 30;

// A failure that people can do something about.
export class ServerError extends Error {}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(`.${path}`, { ...options, cache: "no-store", signal: AbortSignal.timeout(SECONDS * 1000) });
  } catch {
    throw new ServerError("The authority cannot be reached. Is this computer online? Your file is untouched.");
  }
  if (response.ok) return response;
  const text = (await response.text().catch(() => "")).slice(0, 500);
  let message = "";
  try { message = JSON.parse(text).message; } catch { /* not every proxy answers in JSON */ }
  throw new ServerError(`The authority answered ${response.status}${message ? `: ${message}` : ""}.`);
}

export async function fetchState() {
  return (await ask("/web/state.json")).json();
}

export async function fetchReply(path, request) {
  const response = await ask(path, { method: "POST", body: request, headers: { "Content-Type": "application/timestamp-query" } });
  return new Uint8Array(await response.arrayBuffer());
}

// The chains of all profiles, former ones too; each from the signer's certificate to its root.
export async function fetchChains(profiles) {
  const chains = [];
  for (const { path } of profiles) {
    const text = await (await ask(`${path}/certchain?all=true`)).text();
    let chain = [];
    for (const [, block] of text.matchAll(/-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/g)) {
      const certificate = readCertificate(Uint8Array.from(atob(block.replace(/\s/g, "")), (letter) => letter.charCodeAt(0)));
      chain.push(certificate);
      if (equal(certificate.issuer.raw, certificate.subject.raw)) {
        chains.push(chain);
        chain = [];
      }
    }
    if (chain.length) chains.push(chain);
  }
  return chains;
}
