// Returns what keeps people from using the page with other means than mouse and eyes.
() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const note = (text, elements) => { for (const each of elements) faults.push(`${text}: ${each.outerHTML}`); };
  note("no language", document.documentElement.lang ? [] : [document.documentElement]);
  note("no label", all("input, select, progress").filter((e) => !e.labels?.length && !e.ariaLabel));
  note("no name", all("a, button, summary").filter((e) => !e.textContent.trim() && !e.ariaLabel));
  note("no alt", all("img:not([alt])"));
  const ids = all("[id]").map((e) => e.id);
  note("id twice", all("[id]").filter((e) => ids.indexOf(e.id) !== ids.lastIndexOf(e.id)));
  for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
    const leads = (e) => document.getElementById(e.getAttribute(name));
    note(`${name} leads nowhere`, all(`[${name}]`).filter((e) => !leads(e)));
  }
  const levels = all("h1, h2, h3").map((e) => Number(e.tagName[1]));
  levels.forEach((level, index) => {
    if (level - (levels[index - 1] ?? 0) > 1) faults.push(`heading ${index} skips a level`);
  });
  if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
  for (const role of ["header", "main", "footer"]) if (all(role).length !== 1) faults.push(`not one ${role}`);
  if (all("[role=status]").length !== 2) faults.push("what happens is not announced");
  return faults;
}
