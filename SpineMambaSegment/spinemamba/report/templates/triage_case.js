"use strict";

// The case on the right: pictures, viewer, names and decision.
const CaseView = (() => {
  const section = document.getElementById("case");
  const DELAY_MS = 250;
  let item = null;
  let timer = 0;
  let onLevel = () => {};
  let parts = {};

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  const percent = (share) => `${Math.round(100 * share)} %`;
  const picture = (name) => `triage/${encodeURIComponent(item.case)}/${name}.jpg`;

  function show(next, actions) {
    item = next;
    clearTimeout(timer);
    onLevel = actions.level;
    parts = {};
    if (!item) {
      section.replaceChildren(make("p", {}, "No case fits the filter."));
      return;
    }
    if (!item.vertebrae) {
      section.replaceChildren(
        make("h2", {}, item.case), make("p", { class: "alert" }, `Failed: ${item.message}`));
      return;
    }
    parts.status = make("p", { class: "status" });
    parts.namings = make("div", { class: "row", role: "group", "aria-label": "Names of all" });
    parts.rows = make("tbody");
    parts.note = make("textarea", { id: "note", rows: "2", "aria-label": "Note", placeholder: "Note (N)" });
    parts.note.addEventListener("input", () => actions.note(parts.note.value));
    section.replaceChildren(
      make("div", { class: "title" }, make("h2", {}, item.case), parts.status),
      facts(),
      decision(actions),
      parts.namings,
      make("div", { class: "pictures" }, ...figures(), viewer()),
      make("div", { class: "wide" }, make("table", {}, heads(), parts.rows)),
      slicer());
    refresh(actions);
  }

  function facts() {
    const words = [`Doubt ${percent(item.doubt)}.`, ...item.warnings];
    if (item.review) {
      const { status, reviewer, time } = item.review;
      words.push(`Applied before: ${status || "open"}, ${reviewer || "no name"}, ${time}.`);
    }
    return make("p", { class: item.doubt >= 0.1 ? "facts alert" : "facts" }, words.join(" "));
  }

  function decision(actions) {
    const button = (name, text, key, run) => {
      parts[name] = make("button", { "aria-pressed": "false", onclick: run }, `${text} `, make("kbd", {}, key));
      return parts[name];
    };
    return make("div", { class: "row" },
      button("approve", "Approve", "A", actions.approve),
      button("flag", "Flag", "F", actions.flag),
      make("button", { onclick: () => actions.shift(-1) }, "Names up ", make("kbd", {}, "↑")),
      make("button", { onclick: () => actions.shift(1) }, "Names down ", make("kbd", {}, "↓")),
      parts.note);
  }

  function figures() {
    const found = [
      ["strips", "Straightened, from the side and from the front"],
      ["ribs", "Ribs from the front"],
    ].filter(([name]) => item.pictures.includes(name));
    const views = found.length ? found : [["side", "From the side"], ["front", "From the front"]];
    return views.map(([name, text]) => {
      const marks = make("div", { class: "marks" });
      parts[`${name}Marks`] = marks;
      const image = make("img", { src: picture(name), alt: text });
      const frame = make("div", { class: "frame" }, image, marks);
      image.onload = () => {
        frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
      };
      return make("figure", { class: name }, frame, make("figcaption", {}, text));
    });
  }

  function viewer() {
    const text = make("p", { class: "place", role: "status" });
    const box = make("div", { class: "viewer", role: "group", "aria-label": "Slices and 3-D" });
    if (!item.volumes) {
      text.textContent = TRIAGE.noViewer || "This case has no preview for slices and 3-D.";
      box.append(text);
      return box;
    }
    const canvas = make("canvas", { "aria-label": "Slices and 3-D of the spine" });
    const modes = ["slices", "3-D"].map((mode) =>
      make("button", { onclick: () => Viewer.setMode(mode) }, mode === "3-D" ? "3-D" : "Slices"));
    box.append(make("div", { class: "row" }, ...modes, text), make("div", { class: "canvas" }, canvas));
    const current = item;
    // A reader who pages through the cases does not wait for volumes.
    timer = setTimeout(async () => {
      try {
        await Viewer.show(current, canvas, (id) => place(current, id, text));
        canvas.dataset.ready = current.case;
      } catch (error) {
        text.textContent = `${error.message} Use the pictures.`;
      }
    }, DELAY_MS);
    return box;
  }

  function place(current, id, text) {
    if (current !== item) return;
    const index = item.vertebrae.findIndex((vertebra) => vertebra.id === id);
    text.textContent = index < 0 ? "" : `At the cross: ${Store.shown(item).names[index]}`;
    for (const [k, row] of [...parts.rows.children].entries()) row.classList.toggle("here", k === index);
  }

  const heads = () => make("thead", {}, make("tr", {},
    ...["level", "certain", "mL", "look at"].map((text) => make("th", { scope: "col" }, text))));

  // The labels lie beside this page.
  function labelsPath() {
    const path = decodeURIComponent(location.pathname).replace(/^\/(?=[A-Za-z]:)/, "");
    return `${path.slice(0, path.lastIndexOf("/"))}/cases/${item.case}/${item.labels}`;
  }

  function slicer() {
    const quoted = [item.image, labelsPath()].filter(Boolean).map((path) => `"${path}"`).join(" ");
    const code = make("code", { tabindex: "0" }, `Slicer ${quoted}`);
    return make("p", { class: "slicer" }, "Open in Slicer: ", code);
  }

  // Show the current decision; the viewer and the pictures stay.
  function refresh(actions) {
    if (!item || !item.vertebrae) return;
    const { status, names, note } = Store.shown(item);
    const differs = Store.disagreement(item);
    parts.status.textContent = [
      status ? status : "open", Names.range(names), Store.isRenamed(item) ? "renamed" : "", differs,
    ].filter(Boolean).join(" · ");
    parts.approve.setAttribute("aria-pressed", String(status === "approved"));
    parts.flag.setAttribute("aria-pressed", String(status === "flagged"));
    if (document.activeElement !== parts.note) parts.note.value = note;
    refreshNamings(names, actions);
    parts.rows.replaceChildren(...item.vertebrae.map((vertebra, k) => row(vertebra, names[k], k)));
    for (const view of ["strips", "ribs"]) {
      if (parts[`${view}Marks`]) refreshMarks(parts[`${view}Marks`], item.marks[view], names);
    }
    Viewer.rename(item);
  }

  function refreshNamings(names, actions) {
    const choices = [{ names: Store.namesOf(item), posterior: 1 - item.doubt }, ...item.namings];
    parts.namings.replaceChildren(...choices.map((choice, k) => {
      const isOn = choice.names.every((name, index) => name === names[index]);
      const text = `${Names.range(choice.names)} (${percent(choice.posterior)}) `;
      return make("button", { "aria-pressed": String(isOn), onclick: () => actions.naming(k) },
        text, make("kbd", {}, String(k)));
    }));
    parts.namings.hidden = choices.length < 2 && !Store.isRenamed(item);
  }

  function levelButton(name, k) {
    const before = item.vertebrae[k].name;
    const label = name === before ? name : `${name}, before ${before}`;
    return make("button", {
      class: name === before ? "level" : "level changed", "aria-haspopup": "dialog",
      "aria-label": label, onclick: () => onLevel(k),
    }, name);
  }

  function row(vertebra, name, k) {
    const swatch = make("i", { style: `background:${new Map(TRIAGE.levels).get(name)}`, "aria-hidden": "true" });
    return make("tr", { class: vertebra.flags.length ? "flagged" : "" },
      make("th", { scope: "row" }, swatch, levelButton(name, k)),
      make("td", {}, percent(vertebra.certain)),
      make("td", {}, vertebra.volumeMl.toFixed(1)),
      make("td", {}, vertebra.flags.join(" ")));
  }

  // The names lie beside the bodies; on a picture they are for the mouse, the table has the same.
  function refreshMarks(box, marks, names) {
    box.replaceChildren(...marks.flatMap(([id, x, y]) => {
      const k = item.vertebrae.findIndex((vertebra) => vertebra.id === id);
      if (k < 0) return [];
      const button = levelButton(names[k], k);
      button.style.left = `${100 * x}%`;
      button.style.top = `${100 * y}%`;
      button.tabIndex = -1;
      return [button];
    }));
  }

  return { show, refresh, make, current: () => item, focusNote: () => parts.note && parts.note.focus() };
})();
