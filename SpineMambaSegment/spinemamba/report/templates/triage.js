"use strict";

// Keys, actions, files and messages.
(() => {
  const byId = (id) => document.getElementById(id);
  const { make, setText } = CaseView;
  const KEYS = [
    ["J, K", "next and previous case"], ["A", "approve, or withdraw"], ["F", "flag, or withdraw"],
    ["1 to 5", "take another naming; 0 takes that of the run"],
    ["↑, ↓", "all names up or down by one level"], ["N", "note; Esc leaves it"],
    ["T, M", "take the decision of the other reader, or keep mine"],
    ["U, Ctrl+Z", "undo"], ["S", "save review.json"], ["?", "this list"],
  ];
  const COLUMNS = 6;
  const SINGLE = `${Store.key}:single`;

  function say(text) {
    byId("message").textContent = text;
  }

  // Run an action; an Error is a message for the reader.
  function attempt(action) {
    try {
      action();
    } catch (error) {
      say(error.message);
    }
  }

  function refresh() {
    CaseList.refresh();
    CaseView.refresh();
    byId("reader").value = Store.reader();
    if (Store.problem()) say(Store.problem());
    LinkedFile.write();
  }

  function select(item) {
    CaseView.show(item, actions);
    CaseList.mark(item);
    if (item) history.replaceState(null, "", `#${encodeURIComponent(item.case)}`);
  }

  function step(by) {
    const next = CaseList.next(by);
    if (!next || next === CaseView.current()) {
      say(by > 0 ? "This is the last case." : "This is the first case.");
      return;
    }
    select(next);
    say(CaseList.sentence(next));
  }

  // Say what has been decided about a case, unless there is a problem to read.
  function sayDecision(item, before = "") {
    if (Store.problem()) return;
    const { status, names } = Store.shown(item);
    say(`${before}${item.case} is ${status || "open"}, ${Names.range(names)}. `
      + `${byId("progress").textContent}.`);
  }

  // Run a change of the current case, and say what came of it.
  function decide(change, otherwise = "") {
    const item = CaseView.current();
    if (!item || !item.vertebrae) return;
    attempt(() => {
      if (change(item)) sayDecision(item);
      else if (otherwise) say(otherwise);
    });
  }

  const toggle = (status) => decide((item) => (
    Store.decide(item, { status: Store.shown(item).status === status ? "" : status })));

  const rename = (change) => decide((item) => (
    Store.decide(item, { names: change(Store.shown(item).names, item) })));

  const AGREED = "There is no other decision to take or to keep.";
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
    takeOther: () => decide(Store.takeOther, AGREED),
    keepMine: () => decide(Store.keepMine, AGREED),
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

  // Arrows move in the grid of levels.
  function onGridKey(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    const buttons = [...byId("levels").querySelectorAll(".grid button")];
    const next = by && buttons[buttons.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  function undo() {
    const name = Store.undo();
    if (!name) {
      say("There is nothing to undo.");
      return;
    }
    const item = Store.byName.get(name);
    if (item !== CaseView.current()) select(item);
    sayDecision(item, "Undone: ");
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

  function refreshLink() {
    const [button, sentence] = LinkedFile.words();
    setText(byId("link"), button);
    setText(byId("file-state"), sentence);
  }

  function openFile() {
    const state = LinkedFile.state();
    // After a reload, one click is enough.
    if (state === "waiting") {
      LinkedFile.goOn();
      return;
    }
    byId("file-go-on").hidden = state !== "failed";
    setText(byId("file-go-on"), `Go on with ${LinkedFile.name()}`);
    byId("file-stop").hidden = state === "none";
    byId("file").showModal();
  }

  async function chooseFile(isNew) {
    byId("file").close();
    say("");
    if (!await LinkedFile.choose(isNew)) say("No file was chosen. The browser keeps all decisions.");
    else if (LinkedFile.state() === "good" && !byId("message").textContent) {
      say(`Every decision is written to ${LinkedFile.name()}.`);
    }
  }

  async function read(input, take) {
    const [chosen] = input.files;
    input.value = "";
    if (!chosen) return;
    try {
      const { taken, outdated } = take(Review.parse(await chosen.text()));
      sayTaken(chosen.name, taken, outdated);
    } catch (error) {
      say(`${chosen.name} cannot be opened. ${error.message}`);
    }
  }

  function sayTaken(name, taken, outdated) {
    if (Store.problem()) return;
    const what = taken === 1 ? "one decision" : `${taken} decisions`;
    say(`Read ${what} from ${name}. ${Review.leftOut(outdated)}`.trim());
  }

  function isOn(event) {
    const isLetter = event.key.length === 1 && !event.ctrlKey && !event.metaKey;
    return byId("single").checked || !isLetter;
  }

  function onKey(event) {
    const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing || document.querySelector("dialog[open]") || !isOn(event)) return;
    const undoKey = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if ((event.ctrlKey || event.metaKey || event.altKey) && !undoKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // In the list, arrows move as in any list; elsewhere they shift the names.
    const moves = { ArrowUp: () => step(-1), ArrowDown: () => step(1) };
    const shifts = Viewer.isFocused() ? {}
      : { ArrowUp: () => actions.shift(-1), ArrowDown: () => actions.shift(1) };
    const run = undoKey ? undo : (event.target === CaseList.element && moves[key]) || {
      j: () => step(1), k: () => step(-1), a: actions.approve, f: actions.flag, ...shifts, u: undo,
      t: actions.takeOther, m: actions.keepMine, n: CaseView.focusNote, s: download,
      "?": () => byId("keys").showModal(),
    }[key] || (/^[0-5]$/.test(key) ? () => actions.naming(Number(key)) : null);
    if (!run) return;
    event.preventDefault();
    event.stopPropagation();
    run();
  }

  function keepSingle() {
    try {
      localStorage.setItem(SINGLE, String(byId("single").checked));
    } catch {
      // The choice holds until the page is closed.
    }
  }

  function restoreSingle() {
    try {
      byId("single").checked = localStorage.getItem(SINGLE) !== "false";
    } catch {
      byId("single").checked = true;
    }
  }

  function connectFiles() {
    byId("save").onclick = download;
    for (const [name, take] of [["open", Store.merge], ["compare", Store.compare]]) {
      byId(name).onchange = (event) => read(event.target, take);
      byId(`${name}-button`).onclick = () => byId(name).click();
    }
    byId("link").hidden = !LinkedFile.isPossible();
    byId("link").onclick = openFile;
    byId("file-new").onclick = () => chooseFile(true);
    byId("file-existing").onclick = () => chooseFile(false);
    byId("file-go-on").onclick = () => { byId("file").close(); LinkedFile.goOn(); };
    byId("file-stop").onclick = () => { byId("file").close(); LinkedFile.stop(); };
    byId("file-cancel").onclick = () => byId("file").close();
    LinkedFile.listen(refreshLink, sayTaken);
    addEventListener("beforeunload", (event) => {
      if (Store.problem() && LinkedFile.state() !== "good") event.preventDefault();
    });
  }

  function connect() {
    CaseList.connect(select);
    connectFiles();
    byId("undo").onclick = undo;
    byId("reader").onchange = (event) => Store.setReader(event.target.value.trim());
    byId("help").onclick = () => byId("keys").showModal();
    byId("keys-close").onclick = () => byId("keys").close();
    byId("single").onchange = keepSingle;
    byId("levels-cancel").onclick = () => byId("levels").close();
    byId("levels").querySelector(".grid").onkeydown = onGridKey;
    byId("keys").querySelector("dl").append(
      ...KEYS.flatMap(([key, text]) => [make("dt", {}, key), make("dd", {}, text)]));
    document.addEventListener("keydown", onKey, true);
  }

  connect();
  restoreSingle();
  const sentence = Store.start();
  const named = decodeURIComponent(location.hash.slice(1));
  CaseList.refresh();
  select(Store.byName.get(named) || Store.cases[0] || null);
  Store.listen(refresh);
  refresh();
  if (sentence) say(sentence);
  LinkedFile.restore();
})();
