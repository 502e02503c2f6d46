// The page: timestamps a file, and checks a timestamp. What a newer file overtakes is forgotten.

import { ServerError, fetchChains, fetchReply, fetchState } from "./authority.js";
import { NOT_CHECKED, hashFile, runChecks } from "./checks.js";
import { hex } from "./der.js";
import { newRequest } from "./request.js";
import { sha256OfFile } from "./sha256.js";
import { HASHES, Refusal, SHA256, readReply, serialText } from "./token.js";
import {
  accuracyText, byId, checkList, command, download, facts, local, make, onFile, quoted, replace, say, sizeText, utc, verdict,
} from "./view.js";

const REPLY = "application/timestamp-reply";
const MAX_TOKEN = 1024 * 1024;

// What one panel is at; a new turn ends the one before.
class Panel {
  #turn = 0;

  constructor(name) {
    this.result = byId(`${name}-result`);
    this.status = byId(`${name}-status`);
    this.progress = byId(`${name}-progress`);
  }

  begin(text) {
    replace(this.result);
    say(this.status, text);
    this.progress.hidden = true;
    return ++this.#turn;
  }

  isCurrent(turn) { return turn === this.#turn; }

  hashed(turn) {
    return (part) => {
      if (!this.isCurrent(turn)) throw new Overtaken();
      this.progress.hidden = part >= 1;
      this.progress.value = part;
    };
  }

  show(turn, text, ...children) {
    if (!this.isCurrent(turn)) return;
    this.progress.hidden = true;
    replace(this.result, ...children);
    say(this.status, text);
    this.result.focus({ preventScroll: true });
  }

  fail(turn, text) {
    if (!this.isCurrent(turn)) return;
    this.progress.hidden = true;
    say(this.status, text, { error: true });
  }
}

class Overtaken extends Error {}

function explain(error) {
  if (error instanceof ServerError) return error.message;
  if (error instanceof Refusal) return `The authority refused: ${error.message}.`;
  if (error?.name === "NotReadableError" || error?.name === "NotFoundError") return "The file cannot be read. Choose it again.";
  return "The answer cannot be read: it is not a timestamp.";
}

// -- Timestamp a file ---------------------------------------------------------------------------------------------

const stamp = new Panel("stamp");
const retry = byId("stamp-retry");
let stampFile = null;

async function stampNow() {
  const file = stampFile;
  const turn = stamp.begin(`Hashing ${file.name} \u2026`);
  retry.hidden = true;
  byId("stamp-choose").textContent = "Choose another file";
  byId("stamp-file-name").textContent = file.name;
  byId("stamp-file").closest(".drop").classList.add("filled");
  try {
    const digest = await sha256OfFile(file, stamp.hashed(turn));
    say(stamp.status, "Asking for a timestamp \u2026");
    const { der, nonce } = newRequest(digest);
    const reply = await fetchReply(byId("stamp-profile").value || "/api/v1/timestamp", der);
    const token = readReply(reply);
    const state = await fetchState().catch(() => null);
    const chains = state && await fetchChains(state.profiles).catch(() => null);
    const found = await runChecks(token, { fileDigest: digest, fileHash: SHA256, nonce, chains });
    showStamp(turn, { file, digest, reply, token, state, found });
  } catch (error) {
    if (error instanceof Overtaken) return;
    stamp.fail(turn, explain(error));
    retry.hidden = !stamp.isCurrent(turn);
  }
}

function showStamp(turn, { file, digest, reply, token, state, found }) {
  const { tst } = token;
  const bad = found.results.filter(({ result }) => result === "failed").length;
  const open = found.results.filter(({ result }) => result === "unchecked").length;
  const name = `${file.name}.tsr`;
  const chain = byId("stamp-profile").value || "/api/v1/timestamp";
  stamp.show(
    turn,
    bad ? "The answer is not what was asked for." : `${file.name} is timestamped.`,
    verdict(bad ? "failed" : "passed", bad ? "Do not rely on this answer" : utc(tst.time), bad ? utc(tst.time) : local(tst.time)),
    make("div", { class: "actions" },
      download("Download timestamp", name, reply, REPLY),
      make("a", { class: "button quiet", href: `.${chain}/certchain`, download: "chain.pem" }, "Download chain")),
    facts([
      ["File", `${file.name}, ${sizeText(file.size)}`],
      ["SHA-256", make("code", {}, hex(digest))],
      ["Accuracy", accuracyText(tst.accuracy)],
      ["Serial number", make("code", {}, serialText(tst.serial))],
      ["Policy", make("code", {}, tst.policy)],
      ["Signed by", found.certificate ? found.certificate.name : "unknown"],
      ["Chain", chainText(token, found.certificate)],
      ["Clock", state ? state.clock.text : null],
    ]),
    make("details", bad ? { open: "" } : {},
      make("summary", {}, summary(found.results, bad, open)), checkList(found.results)),
    make("p", {}, "Keep the timestamp with the file. To check it in a terminal:"),
    command([
      "timestamp-cli verify", `--artifact ${quoted(file.name)}`, `--timestamp ${quoted(name)}`, "--certificate-chain chain.pem",
    ].join(" \\\n  ")),
  );
}

function chainText(token, certificate) {
  const others = token.certificates.filter((each) => each.bytes !== certificate?.bytes).map((each) => each.name);
  return others.length ? make("span", {}, ...others.flatMap((name, index) => (index ? [make("br"), name] : [name]))) : null;
}

function summary(results, bad, open) {
  if (bad) return `${bad} of ${results.length} checks failed`;
  return open ? `${results.length - open} checks passed, ${open} could not be made` : `All ${results.length} checks passed`;
}

onFile(byId("stamp-file"), (file) => {
  stampFile = file;
  stampNow();
});
retry.addEventListener("click", stampNow);

// -- Check a timestamp --------------------------------------------------------------------------------------------

const check = new Panel("check");
const chosen = { file: null, token: null };

function choose(what) {
  return (file) => {
    chosen[what] = file;
    const label = byId(`check-${what}-name`);
    label.textContent = file.name;
    label.closest(".drop").classList.add("filled");
    checkNow();
  };
}

async function checkNow() {
  if (!chosen.file || !chosen.token) {
    check.begin(chosen.file ? "Now choose its timestamp." : "Now choose the file that it is about.");
    return;
  }
  const turn = check.begin("Checking \u2026");
  let token;
  try {
    if (chosen.token.size > MAX_TOKEN) throw new RangeError("too large");
    token = readReply(new Uint8Array(await chosen.token.arrayBuffer()));
  } catch (error) {
    check.fail(turn, error instanceof Refusal ? `This reply holds no timestamp: the authority refused. ${error.message}.` : `${chosen.token.name} is not a timestamp.`);
    return;
  }
  try {
    let fileDigest = null;
    let hashProblem = null;
    try {
      fileDigest = await hashFile(chosen.file, token.tst.hashOid, check.hashed(turn));
    } catch (error) {
      if (error instanceof Overtaken || error?.name?.startsWith("Not")) throw error;
      hashProblem = error;
    }
    const chains = await fetchState().then(({ profiles }) => fetchChains(profiles)).catch(() => null);
    showChecks(turn, token, await runChecks(token, { fileDigest, fileHash: token.tst.hashOid, hashProblem, chains }));
  } catch (error) {
    if (!(error instanceof Overtaken)) check.fail(turn, explain(error));
  }
}

function showChecks(turn, token, { results, certificate }) {
  const { tst } = token;
  const bad = results.filter(({ result }) => result === "failed").length;
  const open = results.some(({ result }) => result === "unchecked");
  let title = `This file existed on ${utc(tst.time)}`;
  if (open) title = "Nothing is wrong, but not everything could be checked";
  if (bad) title = "This timestamp does not hold for this file";
  check.show(
    turn,
    bad ? "The timestamp does not hold." : open ? "Some checks could not be made." : "The timestamp holds.",
    verdict(bad ? "failed" : open ? "unchecked" : "passed", title, bad ? `It says ${utc(tst.time)}` : local(tst.time)),
    checkList(results),
    facts([
      ["Accuracy", accuracyText(tst.accuracy)],
      ["Serial number", make("code", {}, serialText(tst.serial))],
      ["Policy", make("code", {}, tst.policy)],
      ["Hash", HASHES[tst.hashOid] ?? tst.hashOid],
      ["Signed by", certificate ? certificate.name : "unknown"],
    ]),
    make("p", { class: "unchecked" }, NOT_CHECKED),
  );
}

onFile(byId("check-file"), choose("file"));
onFile(byId("check-token"), choose("token"));

// -- The rest -----------------------------------------------------------------------------------------------------

// A file that misses a panel would else take the page's place.
for (const event of ["dragover", "drop"]) addEventListener(event, (dropped) => dropped.preventDefault());

async function offerProfiles() {
  const { profiles } = await fetchState();
  if (profiles.length < 2) return;
  byId("stamp-profile").append(...profiles.map(({ name, path }) => make("option", { value: path }, name)));
  byId("stamp-profiles").hidden = false;
}

byId("panels").hidden = false;
offerProfiles().catch(() => {}); // without an answer, the default profile is asked
