"use strict";

// Decisions of the reader: kept in the browser at every change, and exchanged as review.json.
const Store = (() => {
  const KEY = `spinemamba-triage:${location.pathname}`;
  const cases = TRIAGE.cases;
  const byName = new Map(cases.map((item) => [item.case, item]));
  let decisions = new Map();
  let undoable = [];
  let other = null;
  let reader = "";
  let onChange = () => {};
  let problem = "";

  const namesOf = (item) => (item.vertebrae || []).map((vertebra) => vertebra.name);
  const same = (a, b) => a.length === b.length && a.every((name, k) => name === b[k]);

  // What the reader sees: the decision, or what an earlier review has decided.
  function shown(item, source = decisions) {
    const earlier = item.review || { status: "", note: "" };
    const start = { status: earlier.status, names: namesOf(item), note: earlier.note, time: "" };
    return { ...start, ...source.get(item.case) };
  }

  function keep() {
    const values = { reader, review: toReview() };
    try {
      localStorage.setItem(KEY, JSON.stringify(values));
      problem = "";
    } catch {
      problem = "This browser keeps nothing: save review.json before you close the page.";
    }
  }

  function changed() {
    keep();
    onChange();
  }

  // Change the decision about a case; equal values count as no change.
  function decide(item, change) {
    const before = decisions.get(item.case);
    const after = { ...shown(item), ...change };
    const old = shown(item);
    if (after.status === old.status && after.note === old.note && same(after.names, old.names)) {
      return;
    }
    const last = undoable[undoable.length - 1];
    // A note is one step, not one for each letter.
    const goesOn = "note" in change && last && last.name === item.case && last.isNote;
    if (!goesOn) undoable.push({ name: item.case, before, isNote: "note" in change });
    decisions.set(item.case, { ...after, time: new Date().toISOString() });
    changed();
  }

  // Undo the last step; return its case, or null.
  function undo() {
    const step = undoable.pop();
    if (!step) return null;
    if (step.before) decisions.set(step.name, step.before);
    else decisions.delete(step.name);
    changed();
    return byName.get(step.name);
  }

  function toReview() {
    const list = cases.filter((item) => decisions.has(item.case)).map((item) => {
      const { status, names, note, time } = decisions.get(item.case);
      const levels = item.vertebrae
        .map(({ id, name }, k) => ({ id, before: name, after: names[k] }))
        .filter(({ before, after }) => before !== after);
      const { case: name, runId, resultSha256 } = item;
      return { case: name, run_id: runId, result_sha256: resultSha256, status, levels, note, time };
    });
    return { schema: TRIAGE.schema, reviewer: reader, decisions: list };
  }

  // Return the decisions of a review that fit these results, and how many do not.
  function parsed(review) {
    if (!review || review.schema !== TRIAGE.schema || !Array.isArray(review.decisions)) {
      throw new Error("This file is not the review of a cohort.");
    }
    const found = new Map();
    let outdated = 0;
    for (const { case: name, result_sha256: hash, status, levels, note, time } of review.decisions) {
      const item = byName.get(name);
      if (!item || item.resultSha256 !== hash) {
        outdated += 1;
        continue;
      }
      const after = new Map(levels.map((level) => [level.id, level.after]));
      const names = item.vertebrae.map((vertebra) => after.get(vertebra.id) || vertebra.name);
      found.set(name, { status, names, note, time });
    }
    return { found, outdated, reader: review.reviewer || "" };
  }

  // Take over a saved review: where it has a later decision, it counts.
  function merge(review) {
    const { found, outdated, reader: name } = parsed(review);
    for (const [key, value] of found) {
      const mine = decisions.get(key);
      if (!mine || mine.time < value.time) decisions.set(key, value);
    }
    reader = reader || name;
    undoable = [];
    changed();
    return outdated;
  }

  function compare(review) {
    other = parsed(review);
    onChange();
    return other.outdated;
  }

  // Return how the other reader differs, in words; empty without one, or if both agree.
  function disagreement(item) {
    if (!other || !item.vertebrae || !other.found.has(item.case)) return "";
    const mine = shown(item);
    const theirs = shown(item, other.found);
    const words = [];
    if (mine.status !== theirs.status) words.push(theirs.status || "open");
    if (!same(mine.names, theirs.names)) words.push(Names.range(theirs.names));
    return words.length ? `${other.reader || "Other reader"}: ${words.join(", ")}` : "";
  }

  function load() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY) || "null");
      if (!kept) return 0;
      reader = kept.reader;
      const { found, outdated } = parsed(kept.review);
      decisions = found;
      return outdated;
    } catch {
      return 0;
    }
  }

  return {
    cases, byName, namesOf, shown, decide, undo, toReview, merge, compare, disagreement, load,
    isRenamed: (item) => Boolean(item.vertebrae) && !same(shown(item).names, namesOf(item)),
    isCompared: () => other !== null,
    text: () => `${JSON.stringify(toReview(), null, 1)}\n`,
    problem: () => problem,
    reader: () => reader,
    setReader: (name) => { reader = name; changed(); },
    listen: (listener) => { onChange = listener; },
  };
})();
