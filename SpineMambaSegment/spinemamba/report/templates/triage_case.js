"use strict";

// The case on the right: pictures, viewer, names and decision.
const CaseView = (() => {
  const section = document.getElementById("case");
  const DELAY_MS = 250;
  const KEY_TEXT = { ArrowUp: "↑", ArrowDown: "↓" };
  let item = null;
  let timer = 0;
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

  // Change a text only where it differs, so that screen readers do not hear it twice.
  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  const percent = (share) => `${Math.round(100 * share)} %`;
  const picture = (one, name) => `triage/${encodeURIComponent(one.case)}/${name}.jpg`;

  // Show a case; the focus stays on the control that the last case had, too.
  function show(next, actions) {
    const focused = section.contains(document.activeElement) && document.activeElement;
    const control = focused && focused.dataset.control;
    item = next;
    clearTimeout(timer);
    parts = {};
    section.replaceChildren(...content(actions));
    refresh();
    if (!focused) return;
    const same = control && section.querySelector(`[data-control="${control}"]`);
    (same || section.querySelector("h2") || section).focus();
  }

  function content(actions) {
    if (!item) return [make("p", {}, "No case fits the filter.")];
    const title = make("h2", { tabindex: "-1" }, item.case);
    if (!item.vertebrae) {
      return [title, make("p", { class: "alert" }, `Failed: ${item.message}`)];
    }
    parts.levels = [];
    parts.status = make("p", { class: "status" });
    parts.other = other(actions);
    return [
      make("div", { class: "title" }, title, parts.status), facts(), parts.other,
      decision(actions), namings(actions),
      make("div", { class: "pictures" }, ...figures(actions), viewer()),
      make("div", { class: "wide" }, table(actions)), slicer(),
    ];
  }

  function facts() {
    const words = [`Doubt ${percent(item.doubt)}.`, ...item.warnings];
    if (item.review) {
      const { status, reviewer, time } = item.review;
      words.push(`Applied before: ${status || "open"}, ${reviewer || "no name"}, ${time}.`);
    }
    parts.flags = make("span", { class: "alert" });
    parts.earlier = make("span", { class: "alert" });
    return make("p", { class: item.doubt >= 0.1 ? "facts alert" : "facts" },
      `${words.join(" ")} `, parts.flags, parts.earlier);
  }

  // The decision of a second reader, and what can be done about it.
  function other(actions) {
    parts.otherText = make("span", { class: "alert" });
    return make("div", { class: "row", role: "group", "aria-label": "Other reader", hidden: true },
      parts.otherText,
      button("take", "Take it", "T", actions.takeOther),
      button("keep", "Keep mine", "M", actions.keepMine));
  }

  function button(name, text, key, run) {
    return make("button", { "data-control": name, "aria-keyshortcuts": key, onclick: run },
      `${text} `, make("kbd", { "aria-hidden": "true" }, KEY_TEXT[key] || key));
  }

  function decision(actions) {
    parts.approve = button("approve", "Approve", "A", actions.approve);
    parts.flag = button("flag", "Flag", "F", actions.flag);
    parts.note = make("textarea", {
      id: "note", rows: "1", "aria-label": "Note", placeholder: "Note (N)", "data-control": "note",
      "aria-keyshortcuts": "N",
    });
    parts.note.addEventListener("input", () => actions.note(parts.note.value));
    return make("div", { class: "row", role: "group", "aria-label": "Decision" },
      parts.approve, parts.flag,
      button("up", "Names up", "ArrowUp", () => actions.shift(-1)),
      button("down", "Names down", "ArrowDown", () => actions.shift(1)),
      parts.note);
  }

  function namings(actions) {
    const choices = [{ names: Store.namesOf(item), posterior: 1 - item.doubt }, ...item.namings];
    parts.choices = choices.map((choice, k) => ({
      names: choice.names,
      element: button(`naming-${k}`, `${Names.range(choice.names)} (${percent(choice.posterior)})`,
        String(k), () => actions.naming(k)),
    }));
    parts.namings = make("div", { class: "row", role: "group", "aria-label": "Names of all" },
      ...parts.choices.map(({ element }) => element));
    return parts.namings;
  }

  function figures(actions) {
    const found = [
      ["strips", "Straightened, from the side and from the front"],
      ["ribs", "Ribs from the front"],
    ].filter(([name]) => item.pictures.includes(name));
    const views = found.length ? found : [["side", "From the side"], ["front", "From the front"]];
    return views.map(([name, text]) => {
      const image = make("img", { src: picture(item, name), alt: text });
      const frame = make("div", { class: "frame" }, image, marks(name, text, actions));
      image.onload = () => {
        frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
      };
      return make("figure", { class: name }, frame, make("figcaption", {}, text));
    });
  }

  function viewer() {
    const text = make("p", { class: "place" });
    const box = make("div", { class: "viewer", role: "group", "aria-label": "Slices and 3-D" });
    if (!item.volumes) {
      text.textContent = TRIAGE.noViewer || "This case has no preview for slices and 3-D.";
      box.append(text);
      return box;
    }
    const modes = ["slices", "3-D"].map((mode) => make("button", {
      "data-control": mode, "aria-pressed": String(mode === Viewer.mode()),
      onclick: () => {
        Viewer.setMode(mode);
        for (const one of modes) one.setAttribute("aria-pressed", String(one.dataset.control === mode));
      },
    }, mode === "3-D" ? "3-D" : "Slices"));
    const place = make("div", { class: "canvas" });
    box.append(make("div", { class: "row" }, ...modes, text), place);
    const current = item;
    // A reader who pages through the cases does not wait for volumes.
    timer = setTimeout(async () => {
      try {
        await Viewer.show(current, place, (id) => atCross(current, id, text));
      } catch (error) {
        text.textContent = `${error.message} Use the pictures.`;
      }
    }, DELAY_MS);
    return box;
  }

  function atCross(current, id, text) {
    if (current !== item) return;
    const index = item.vertebrae.findIndex((vertebra) => vertebra.id === id);
    setText(text, index < 0 ? "" : `At the cross: ${Store.shown(item).names[index]}`);
    for (const [k, { element }] of parts.rows.entries()) element.classList.toggle("here", k === index);
  }

  // The labels lie beside this page.
  function labelsPath() {
    const path = decodeURIComponent(location.pathname).replace(/^\/(?=[A-Za-z]:)/, "");
    return `${path.slice(0, path.lastIndexOf("/"))}/cases/${item.case}/${item.labels}`;
  }

  function slicer() {
    const quoted = [item.image, labelsPath()].filter(Boolean).map((path) => `"${path}"`).join(" ");
    const code = make("code", {}, `Slicer ${quoted}`);
    const select = () => getSelection().selectAllChildren(code);
    return make("p", { class: "slicer" },
      make("button", { "data-control": "slicer", onclick: select }, "Select"),
      " Open in Slicer: ", code);
  }

  function levelButton(k, actions, attributes = {}) {
    const element = make("button", {
      class: "level", "aria-haspopup": "dialog", onclick: () => actions.level(k), ...attributes });
    parts.levels.push({ element, k });
    return element;
  }

  function table(actions) {
    parts.rows = item.vertebrae.map((vertebra, k) => {
      const swatch = make("i", { "aria-hidden": "true" });
      const element = make("tr", { class: vertebra.flags.length ? "flagged" : "" },
        make("th", { scope: "row" }, swatch, levelButton(k, actions, { "data-control": `level-${k}` })),
        make("td", {}, percent(vertebra.certain)),
        make("td", {}, vertebra.volumeMl.toFixed(1)),
        make("td", {}, vertebra.flags.join(" ")));
      return { element, swatch };
    });
    const heads = ["level", "certain", "mL", "look at"].map((text) => make("th", { scope: "col" }, text));
    return make("table", { "aria-label": "Vertebrae" }, make("thead", {}, make("tr", {}, ...heads)),
      make("tbody", {}, ...parts.rows.map(({ element }) => element)));
  }

  // The names lie beside the bodies; on a picture they are for the mouse, the table has the same.
  function marks(name, text, actions) {
    const buttons = (item.marks[name] || []).flatMap(([id, x, y]) => {
      const k = item.vertebrae.findIndex((vertebra) => vertebra.id === id);
      const style = `left:${100 * x}%;top:${100 * y}%`;
      return k < 0 ? [] : [levelButton(k, actions, { style, tabindex: "-1" })];
    });
    return make("div", { class: "marks", role: "group", "aria-label": `Names in the picture: ${text}` },
      ...buttons);
  }

  // Show the current decision; every element stays, and with it the focus.
  function refresh() {
    if (!item || !item.vertebrae) return;
    const { status, names, note } = Store.shown(item);
    setText(parts.status, [
      status || "open", Names.range(names), Store.isRenamed(item) ? "renamed" : "",
      Store.disagreement(item),
    ].filter(Boolean).join(" · "));
    parts.approve.setAttribute("aria-pressed", String(status === "approved"));
    parts.flag.setAttribute("aria-pressed", String(status === "flagged"));
    if (document.activeElement !== parts.note) parts.note.value = note;
    for (const { names: choice, element } of parts.choices) {
      const isOn = choice.every((name, index) => name === names[index]);
      element.setAttribute("aria-pressed", String(isOn));
    }
    parts.namings.hidden = parts.choices.length < 2 && !Store.isRenamed(item);
    // The table may lie below the fold.
    setText(parts.flags, item.vertebrae.map(({ flags }, k) => (
      flags.length ? `${names[k]}: ${flags.join(" ")} ` : "")).join(""));
    refreshOthers();
    refreshLevels(names);
    Viewer.rename(item);
  }

  function refreshOthers() {
    const before = Store.earlier(item);
    const words = before && [before.status || "open",
      ...before.levels.map((level) => `${level.before} is ${level.after}`), before.note];
    setText(parts.earlier, before
      ? `You decided on an earlier result: ${words.filter(Boolean).join(", ")}.` : "");
    const theirs = Store.otherDecision(item);
    parts.other.hidden = !theirs;
    if (!theirs) return;
    const { status, names, note } = theirs;
    setText(parts.otherText, `${Store.otherName()} decided: ${status || "open"}, `
      + `${Names.range(names)}${note ? `. Note: ${note}` : ""}`);
  }

  function refreshLevels(names) {
    const colors = new Map(TRIAGE.levels);
    for (const [k, { swatch }] of parts.rows.entries()) swatch.style.background = colors.get(names[k]);
    for (const { element, k } of parts.levels) {
      const before = item.vertebrae[k].name;
      const isChanged = names[k] !== before;
      setText(element, names[k]);
      element.classList.toggle("changed", isChanged);
      element.setAttribute("aria-label", isChanged ? `${names[k]}, before ${before}` : names[k]);
    }
  }

  // Have the pictures of a case ready.
  function preload(one) {
    for (const name of ["strips", "ribs"]) {
      if (one.vertebrae && one.pictures.includes(name)) new Image().src = picture(one, name);
    }
  }

  return {
    show, refresh, make, setText, preload,
    current: () => item, focusNote: () => parts.note && parts.note.focus(),
  };
})();
