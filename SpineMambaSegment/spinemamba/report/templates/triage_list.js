"use strict";

// The list of cases on the left, its filters, and the progress.
const CaseList = (() => {
  const byId = (id) => document.getElementById(id);
  const { make, setText } = CaseView;
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
  const rows = new Map(Store.cases.map((item) => [item.case, option(item)]));
  let visible = [];

  function flagsOf(item) {
    return (item.vertebrae || []).reduce((sum, vertebra) => sum + vertebra.flags.length, 0);
  }

  function option(item) {
    const picture = (name) => make("img", {
      src: `triage/${encodeURIComponent(item.case)}/${name}.jpg`, alt: "", loading: "lazy" });
    const images = item.vertebrae ? ["side", "front"].filter((n) => item.pictures.includes(n)) : [];
    return make("li", {
      id: `case-${item.case}`, role: "option", "aria-selected": "false", "data-case": item.case,
    }, make("span", { class: "thumbs" }, ...images.map(picture)), make("span", { class: "text" }));
  }

  // Return the lines of a case: text and class of each.
  function linesOf(item) {
    if (!item.vertebrae) return [["failed", "state"]];
    const { status, names, note } = Store.shown(item);
    const flags = flagsOf(item);
    return [
      [`${Names.range(names)}${Store.isRenamed(item) ? ", renamed" : ""}`, ""],
      [`doubt ${Math.round(100 * item.doubt)} %, ${flags} flag${flags === 1 ? "" : "s"}`, ""],
      [`${status || "open"}${note ? ", note" : ""}`, "state"],
      [Store.disagreement(item), "differs"],
      [Store.earlier(item) ? "decided on an earlier result" : "", "differs"],
    ].filter(([text]) => text);
  }

  function describe(item, element) {
    const lines = linesOf(item);
    const text = element.querySelector(".text");
    // Most cases have not changed; an element that stays needs no layout.
    const key = JSON.stringify(lines);
    if (text.dataset.lines === key) return;
    text.dataset.lines = key;
    // Browsers leave out the content of cases out of sight, also for screen readers.
    element.setAttribute("aria-label", [item.case, ...lines.map(([line]) => line)].join(", "));
    element.dataset.status = item.vertebrae ? Store.shown(item).status : "failed";
    text.replaceChildren(make("b", {}, item.case),
      ...lines.flatMap(([line, name]) => [" ", make("span", { class: name || null }, line)]));
  }

  function fits(item) {
    const [, , keeps] = FILTERS.find(([name]) => name === byId("filter").value) || FILTERS[0];
    return keeps(item) && item.case.toLowerCase().includes(byId("search").value.trim().toLowerCase());
  }

  function refresh() {
    const current = CaseView.current();
    // The current case stays in sight after a decision that the filter would hide.
    visible = Store.cases.filter((item) => item === current || fits(item));
    const before = [...list.children];
    const after = visible.map((item) => rows.get(item.case));
    if (before.length !== after.length || before.some((element, k) => element !== after[k])) {
      list.replaceChildren(...after);
    }
    for (const item of visible) describe(item, rows.get(item.case));
    refreshProgress();
  }

  function refreshProgress() {
    const done = Store.cases.filter((item) => item.vertebrae);
    const count = (status) => done.filter((item) => Store.shown(item).status === status).length;
    const [approved, flagged] = [count("approved"), count("flagged")];
    const differing = done.filter((item) => Store.disagreement(item)).length;
    byId("bar").max = done.length || 1;
    byId("bar").value = approved + flagged;
    setText(byId("progress"), `${approved + flagged} of ${done.length} decided: ${approved} approved, `
      + `${flagged} flagged${differing ? `; readers disagree on ${differing}` : ""}`);
  }

  // Mark a case as the current one.
  function mark(item) {
    for (const element of rows.values()) element.setAttribute("aria-selected", "false");
    if (!item) {
      list.removeAttribute("aria-activedescendant");
      return;
    }
    const element = rows.get(item.case);
    element.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", element.id);
    element.scrollIntoView({ block: "nearest" });
    for (const near of [next(1), next(-1)]) if (near && near !== item) CaseView.preload(near);
  }

  // Return the case some places below the current one, or the last or first one.
  function next(by) {
    const index = visible.indexOf(CaseView.current());
    return visible[Math.min(Math.max(index + by, 0), visible.length - 1)] || null;
  }

  // Return a sentence about a case and its place, for screen readers.
  function sentence(item) {
    const place = `${visible.indexOf(item) + 1} of ${visible.length}`;
    return `${item.case}, ${place}: ${linesOf(item).map(([text]) => text).join(", ")}`;
  }

  function connect(select) {
    byId("filter").append(...FILTERS.map(([name, text]) => make("option", { value: name }, text)));
    byId("filter").onchange = () => {
      const current = CaseView.current();
      if (!current || !fits(current)) select(Store.cases.find(fits) || null);
      refresh();
    };
    byId("search").oninput = refresh;
    list.onclick = (event) => {
      const element = event.target.closest("li");
      if (element) select(Store.byName.get(element.dataset.case));
    };
  }

  return { connect, refresh, mark, next, sentence, element: list };
})();
