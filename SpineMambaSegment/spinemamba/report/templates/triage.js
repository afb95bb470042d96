"use strict";

// The list of cases, keys and files.
(() => {
  const byId = (id) => document.getElementById(id);
  const make = CaseView.make;
  const list = byId("cases");
  const FILTERS = [
    ["all", "all cases", () => true],
    ["open", "open", (item) => item.vertebrae && !Store.shown(item).status],
    ["approved", "approved", (item) => Store.shown(item).status === "approved"],
    ["flagged", "flagged", (item) => Store.shown(item).status === "flagged"],
    ["renamed", "renamed", (item) => Store.isRenamed(item)],
    ["doubt", "names in doubt", (item) => item.doubt >= 0.1],
    ["flags", "with flags", (item) => flagsOf(item) > 0],
    ["noted", "with a note", (item) => Store.shown(item).note !== ""],
    ["differ", "readers disagree", (item) => Store.disagreement(item) !== ""],
    ["failed", "failed", (item) => !item.vertebrae],
  ];
  const KEYS = [
    ["J, K", "next and previous case"], ["A", "approve, or withdraw"], ["F", "flag, or withdraw"],
    ["1 to 5", "take another naming; 0 takes that of the run"],
    ["↑, ↓", "all names up or down by one level"], ["N", "note; Esc leaves it"],
    ["U, Ctrl+Z", "undo"], ["S", "save review.json"], ["?", "this list"],
  ];
  let rows = new Map();
  let visible = [];
  let file = null;

  const flagsOf = (item) => (item.vertebrae || []).reduce((sum, v) => sum + v.flags.length, 0);

  function say(text) {
    byId("message").textContent = text;
  }

  // Run an action; an Error is a message for the reader.
  function attempt(action) {
    try {
      say("");
      action();
    } catch (error) {
      say(error.message);
    }
  }

  function option(item) {
    const picture = (name) => make("img", {
      src: `triage/${encodeURIComponent(item.case)}/${name}.jpg`, alt: "", loading: "lazy" });
    const images = item.vertebrae ? ["side", "front"].filter((n) => item.pictures.includes(n)) : [];
    const text = make("span", { class: "text" });
    const element = make("li", {
      id: `case-${item.case}`, role: "option", "aria-selected": "false",
      onclick: () => select(item),
    }, make("span", { class: "thumbs" }, ...images.map(picture)), text);
    return element;
  }

  function describe(item, element) {
    const text = element.querySelector(".text");
    const lines = [make("b", {}, item.case)];
    element.dataset.status = item.vertebrae ? "" : "failed";
    if (!item.vertebrae) {
      lines.push(make("span", {}, "failed"));
    } else {
      const { status, names, note } = Store.shown(item);
      const flags = flagsOf(item);
      element.dataset.status = status;
      lines.push(
        make("span", {}, `${Names.range(names)}${Store.isRenamed(item) ? ", renamed" : ""}`),
        make("span", {}, `doubt ${Math.round(100 * item.doubt)} %, ${flags} flag${flags === 1 ? "" : "s"}`),
        make("span", { class: "state" }, `${status || "open"}${note ? ", note" : ""}`));
      const differs = Store.disagreement(item);
      if (differs) lines.push(make("span", { class: "differs" }, differs));
    }
    text.replaceChildren(...lines);
  }

  function refreshList() {
    const [, , keeps] = FILTERS.find(([name]) => name === byId("filter").value) || FILTERS[0];
    const part = byId("search").value.trim().toLowerCase();
    const current = CaseView.current();
    // The current case stays in sight after a decision that the filter would hide.
    visible = Store.cases.filter((item) => (
      item === current || (keeps(item) && item.case.toLowerCase().includes(part))));
    const before = [...list.children];
    const after = visible.map((item) => rows.get(item.case));
    if (before.length !== after.length || before.some((element, k) => element !== after[k])) {
      list.replaceChildren(...after);
    }
    for (const item of visible) describe(item, rows.get(item.case));
  }

  function refreshProgress() {
    const done = Store.cases.filter((item) => item.vertebrae);
    const count = (status) => done.filter((item) => Store.shown(item).status === status).length;
    const [approved, flagged] = [count("approved"), count("flagged")];
    byId("bar").max = done.length || 1;
    byId("bar").value = approved + flagged;
    byId("progress").textContent =
      `${approved + flagged} of ${done.length} decided: ${approved} approved, ${flagged} flagged`;
    byId("reader").value = Store.reader();
  }

  function refresh() {
    refreshList();
    refreshProgress();
    CaseView.refresh(actions);
    if (Store.problem()) say(Store.problem());
    writeFile();
  }

  function select(item) {
    for (const element of rows.values()) element.setAttribute("aria-selected", "false");
    const element = item && rows.get(item.case);
    CaseView.show(item, actions);
    if (!item) return;
    element.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", element.id);
    element.scrollIntoView({ block: "nearest" });
    history.replaceState(null, "", `#${encodeURIComponent(item.case)}`);
  }

  function step(by) {
    const index = visible.indexOf(CaseView.current());
    const next = visible[Math.min(Math.max(index + by, 0), visible.length - 1)];
    if (next && next !== CaseView.current()) {
      say("");
      select(next);
    }
  }

  function toggle(status) {
    const item = CaseView.current();
    if (!item || !item.vertebrae) return;
    Store.decide(item, { status: Store.shown(item).status === status ? "" : status });
  }

  function rename(change) {
    const item = CaseView.current();
    if (item && item.vertebrae) attempt(() => Store.decide(item, { names: change(Store.shown(item).names, item) }));
  }

  const actions = {
    approve: () => toggle("approved"),
    flag: () => toggle("flagged"),
    note: (text) => Store.decide(CaseView.current(), { note: text }),
    shift: (by) => rename((names) => Names.shift(names, by)),
    naming: (k) => rename((names, item) => {
      if (k === 0) return Store.namesOf(item);
      if (!item.namings[k - 1]) throw new Error(`There is no naming ${k}.`);
      return item.namings[k - 1].names;
    }),
    level: (index) => openLevels(index),
  };

  function openLevels(index) {
    const item = CaseView.current();
    const name = Store.shown(item).names[index];
    const dialog = byId("levels");
    byId("levels-title").textContent = `${name} is`;
    dialog.querySelector(".grid").replaceChildren(...Names.all.map((level) => make("button", {
      "aria-current": level === name ? "true" : null,
      onclick: () => {
        const others = byId("others").checked;
        dialog.close();
        rename((names) => Names.rename(names, index, level, others));
      },
    }, level)));
    dialog.showModal();
    const here = dialog.querySelector("[aria-current]");
    if (here) here.focus();
  }

  function undo() {
    const item = Store.undo();
    if (!item) say("There is nothing to undo.");
    else if (item !== CaseView.current()) select(item);
  }

  function download() {
    const link = make("a", {
      href: URL.createObjectURL(new Blob([Store.text()], { type: "application/json" })),
      download: "review.json",
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("Saved review.json. Apply it with: spinemamba apply-review OUT review.json");
  }

  // Where the browser can write files, every decision is written at once.
  async function linkFile() {
    try {
      file = await showSaveFilePicker({ suggestedName: "review.json" });
      await writeFile();
      say(`Every decision is written to ${file.name}.`);
    } catch (error) {
      if (error.name !== "AbortError") say(error.message);
    }
  }

  let writing = Promise.resolve();
  function writeFile() {
    if (!file) return writing;
    writing = writing.then(async () => {
      const stream = await file.createWritable();
      await stream.write(Store.text());
      await stream.close();
    }).catch((error) => {
      file = null;
      say(`The file cannot be written any more: ${error.message} Save review.json.`);
    });
    return writing;
  }

  async function read(input, take) {
    const [chosen] = input.files;
    input.value = "";
    if (!chosen) return;
    try {
      const outdated = take(JSON.parse(await chosen.text()));
      say(outdated ? `${outdated} decisions are about other results and were left out.` : `Opened ${chosen.name}.`);
    } catch (error) {
      say(`${chosen.name} cannot be opened: ${error.message}`);
    }
  }

  function onKey(event) {
    const typing = event.target.matches("input, textarea, select");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing || document.querySelector("dialog[open]")) return;
    const undoKey = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if ((event.ctrlKey || event.metaKey || event.altKey) && !undoKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // In the list, arrows move as in any list; elsewhere they shift the names.
    const moves = { ArrowUp: () => step(-1), ArrowDown: () => step(1) };
    const run = undoKey ? undo : (event.target === list && moves[key]) || {
      j: () => step(1), k: () => step(-1), a: actions.approve, f: actions.flag,
      ArrowUp: () => actions.shift(-1), ArrowDown: () => actions.shift(1), u: undo,
      n: CaseView.focusNote, s: download, "?": () => byId("keys").showModal(),
    }[key] || (/^[0-5]$/.test(key) ? () => actions.naming(Number(key)) : null);
    if (!run) return;
    event.preventDefault();
    event.stopPropagation();
    run();
  }

  function connect() {
    byId("filter").append(...FILTERS.map(([name, text]) => make("option", { value: name }, text)));
    byId("filter").onchange = () => { refreshList(); if (!visible.includes(CaseView.current())) select(visible[0]); };
    byId("search").oninput = refreshList;
    byId("save").onclick = download;
    byId("undo").onclick = undo;
    byId("reader").onchange = (event) => Store.setReader(event.target.value.trim());
    byId("open").onchange = (event) => read(event.target, Store.merge);
    byId("compare").onchange = (event) => read(event.target, Store.compare);
    byId("help").onclick = () => byId("keys").showModal();
    byId("keys-close").onclick = () => byId("keys").close();
    byId("levels-cancel").onclick = () => byId("levels").close();
    byId("keys").querySelector("dl").append(
      ...KEYS.flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)]));
    for (const label of document.querySelectorAll("label.file")) {
      label.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") label.click(); };
    }
    byId("link").hidden = !globalThis.showSaveFilePicker;
    byId("link").onclick = linkFile;
    document.addEventListener("keydown", onKey, true);
  }

  connect();
  rows = new Map(Store.cases.map((item) => [item.case, option(item)]));
  const outdated = Store.load();
  const named = decodeURIComponent(location.hash.slice(1));
  refreshList();
  select(Store.byName.get(named) || Store.cases[0] || null);
  Store.listen(refresh);
  refresh();
  if (outdated) say(`${outdated} decisions are about earlier results and were left out.`);
})();
