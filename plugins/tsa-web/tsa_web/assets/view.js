// Makes elements. Every text becomes a text node, so nothing that a file or a server says is markup.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// A list of facts; those without a value are left out.
export function facts(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== "");
  return make("dl", {}, ...shown.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

const MARKS = { passed: ["\u2713", "Passed: "], failed: ["\u2715", "Failed: "], unchecked: ["\u2013", "Not checked: "] };

function mark(result) {
  return make("span", { class: "mark", "aria-hidden": "true" }, MARKS[result][0]);
}

export function verdict(result, text, detail) {
  return make("p", { class: `verdict ${result}` }, mark(result),
    make("span", {}, text, detail ? make("span", { class: "when" }, detail) : ""));
}

export function checkList(results) {
  return make("ul", { class: "checks" }, ...results.map(({ name, result, detail, digests = [] }) => make("li", { class: result }, mark(result),
    make("p", {}, make("span", { class: "hidden" }, MARKS[result][1]), make("span", { class: "name" }, name),
      make("span", { class: "detail" }, detail, ...digests.flatMap((each) => [make("br"), make("code", {}, each)]))))));
}

// A command to type, with a button that copies it.
export function command(text) {
  const box = make("div", { class: "command" }, make("pre", { tabindex: "0" }, make("code", {}, text)));
  if (navigator.clipboard) {
    const button = make("button", { type: "button", class: "quiet" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Select it and copy";
      }
    });
    box.append(button);
  }
  return box;
}

// A link that saves bytes as a file.
export function download(text, name, bytes, type) {
  const address = URL.createObjectURL(new Blob([bytes], { type }));
  return make("a", { class: "button", href: address, download: name }, text);
}

// Shows other children, or none; the bytes of links that go are given back.
export function replace(owner, ...children) {
  for (const link of owner.querySelectorAll("a[href^='blob:']")) URL.revokeObjectURL(link.href);
  owner.replaceChildren(...children);
  owner.hidden = !children.length;
}

export function say(element, text, { error = false } = {}) {
  element.classList.toggle("error", error);
  element.textContent = text;
}

// Calls `take` with each file that is chosen in an input, or dropped where it is.
export function onFile(input, take) {
  const place = input.closest(".drop");
  const over = (on) => () => place.classList.toggle("over", on);
  input.addEventListener("click", () => { input.value = ""; }); // so that the same file can be chosen again
  input.addEventListener("change", () => { if (input.files.length) take(input.files[0]); });
  place.addEventListener("dragenter", over(true));
  place.addEventListener("dragleave", over(false));
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false)();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

const TIME = { dateStyle: "long", timeStyle: "medium", timeZone: "UTC" };

export function utc({ date, fraction }) {
  const text = new Intl.DateTimeFormat("en-GB", TIME).format(date);
  return `${fraction ? text.replace(/(\d\d:\d\d:\d\d)/, `$1${fraction}`) : text} UTC`;
}

// The same in the browser's time zone; nothing where that is UTC.
export function local({ date }) {
  if (!date.getTimezoneOffset()) return "";
  return `Your time: ${new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "long" }).format(date)}`;
}

export function accuracyText(seconds) {
  if (seconds === null) return "not stated";
  return seconds < 1 ? `\u00b1 ${Number((seconds * 1000).toPrecision(6))} ms` : `\u00b1 ${Number(seconds.toPrecision(6))} s`;
}

export function sizeText(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1000 && unit < units.length - 1; unit++) size /= 1000;
  return `${unit ? size.toPrecision(3) : size} ${units[unit]}`;
}

// A file's name as an argument of a shell.
export function quoted(name) {
  const path = name.startsWith("-") ? `./${name}` : name;
  return /^[\w.,+@%/-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
