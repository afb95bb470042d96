"use strict";

// Decisions of the reader: kept in the browser at every change, and exchanged as review.json.
const Store = (() => {
  const KEY = `spinemamba-triage:${location.pathname}`;
  const cases = TRIAGE.cases;
  const byName = new Map(cases.map((item) => [item.case, item]));
  let decisions = new Map();
  // Decisions about results that have changed since: shown until the case is decided again.
  let outdated = new Map();
  let undoable = [];
  let other = null;
  // Cases on which the reader keeps a decision that differs from the other reader's.
  let settled = new Set();
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
    const values = {
      reader, review: toReview(), outdated: [...outdated.values()],
      other: other && other.review, settled: [...settled],
    };
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

  // Change the decision about a case; return whether it differs from before.
  function decide(item, change) {
    const before = decisions.get(item.case);
    const old = shown(item);
    const after = { ...old, ...change };
    if (after.status === old.status && after.note === old.note && same(after.names, old.names)) {
      return false;
    }
    const last = undoable[undoable.length - 1];
    // A note is one step, not one for each letter.
    const goesOn = "note" in change && last && last.name === item.case && last.isNote;
    if (!goesOn) {
      const restore = () => {
        if (before) decisions.set(item.case, before);
        else decisions.delete(item.case);
      };
      undoable.push({ name: item.case, restore, isNote: "note" in change });
    }
    decisions.set(item.case, { ...after, time: new Date().toISOString() });
    changed();
    return true;
  }

  // Undo the last step; return the name of its case, or null.
  function undo() {
    const step = undoable.pop();
    if (!step) return null;
    step.restore();
    changed();
    return step.name;
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

  // Decisions of another reader must not become those of this one.
  function checkReader(review) {
    const isMine = !review.reviewer || review.reviewer === reader || (!reader && !decisions.size);
    if (!isMine) {
      throw new Error(`It has the decisions of ${review.reviewer}, and you read as `
        + `${reader || "a reader without a name"}. Compare with it instead.`);
    }
  }

  // Take over a review of the same reader: where it has a later decision, it counts.
  function merge(review) {
    checkReader(review);
    const sorted = Review.sorted(review, byName);
    const before = { decisions: new Map(decisions), reader };
    const later = [...sorted.found].filter(([name, { time }]) => (
      !decisions.has(name) || decisions.get(name).time < time));
    for (const [name, value] of later) decisions.set(name, value);
    for (const decision of sorted.outdated) outdated.set(decision.case, decision);
    reader = reader || review.reviewer;
    const restore = () => { ({ decisions, reader } = before); };
    if (later.length) undoable.push({ name: later[0][0], restore });
    changed();
    return { taken: later.length, outdated: sorted.outdated };
  }

  function compare(review) {
    if (reader && review.reviewer === reader) {
      throw new Error(`It has the decisions of ${reader}, as this page. Open it as a review.`);
    }
    other = { review, ...Review.sorted(review, byName) };
    settled = new Set();
    changed();
    return { taken: other.found.size, outdated: other.outdated };
  }

  const isDecided = (item) => decisions.has(item.case) || item.review !== null;
  const otherName = () => (other && other.review.reviewer) || "Other reader";

  // Return what the other reader decided, if it differs; null without such a decision.
  function otherDecision(item) {
    if (!other || !item.vertebrae || !other.found.has(item.case)) return null;
    const [mine, theirs] = [shown(item), other.found.get(item.case)];
    const isSame = mine.status === theirs.status && same(mine.names, theirs.names);
    return isSame || settled.has(item.case) ? null : theirs;
  }

  // Return how the other reader differs, in words; empty without one, or if both agree.
  function disagreement(item) {
    const theirs = otherDecision(item);
    if (!theirs) return "";
    const mine = shown(item);
    const words = [];
    if (mine.status !== theirs.status) words.push(theirs.status || "open");
    if (!same(mine.names, theirs.names)) words.push(Names.range(theirs.names));
    return `${isDecided(item) ? "" : "only "}${otherName()}: ${words.join(", ")}`;
  }

  function takeOther(item) {
    const theirs = otherDecision(item);
    if (!theirs) return false;
    const note = shown(item).note || theirs.note;
    return decide(item, { status: theirs.status, names: theirs.names, note });
  }

  function keepMine(item) {
    if (!otherDecision(item)) return false;
    settled.add(item.case);
    undoable.push({ name: item.case, restore: () => settled.delete(item.case) });
    changed();
    return true;
  }

  // Return the decision about an earlier result of a case, until it is decided again.
  function earlier(item) {
    return decisions.has(item.case) ? null : outdated.get(item.case) || null;
  }

  // Return whether `apply-review` has applied a decision.
  function isApplied(decision) {
    const { review } = byName.get(decision.case) || {};
    return Boolean(review) && review.time === decision.time && review.status === decision.status;
  }

  // Read what the browser has kept; return the decisions that do not fit any more.
  function load() {
    const text = localStorage.getItem(KEY);
    if (!text) return [];
    const kept = JSON.parse(text);
    Review.parse(JSON.stringify(kept.review));
    // A page of other results may have kept decisions that fit this one; the later one counts.
    const all = [...kept.review.decisions, ...(kept.outdated || [])];
    all.sort((one, two) => (one.time < two.time ? -1 : 1));
    const sorted = Review.sorted({ decisions: all }, byName);
    const old = sorted.outdated.filter((decision) => !isApplied(decision));
    [reader, decisions, undoable] = [kept.reader, sorted.found, []];
    outdated = new Map(old.map((decision) => [decision.case, decision]));
    other = kept.other && { review: kept.other, ...Review.sorted(kept.other, byName) };
    settled = new Set(kept.settled || []);
    return [...outdated.values()].filter((decision) => !decisions.has(decision.case));
  }

  // Start from what the browser has kept; return a sentence for the reader, or an empty one.
  function start() {
    try {
      return Review.leftOut(load());
    } catch (error) {
      // What cannot be read is put aside, so that the next decision does not replace it.
      try {
        localStorage.setItem(`${KEY}:unread`, localStorage.getItem(KEY));
      } catch {
        return "This browser keeps nothing: save review.json before you close the page.";
      }
      return `The decisions that the browser has kept cannot be read: ${error.message}`;
    }
  }

  // A second tab with this page has changed the decisions.
  addEventListener("storage", (event) => {
    if (event.key !== KEY) return;
    start();
    onChange();
  });

  return {
    cases, byName, namesOf, shown, decide, undo, merge, compare, disagreement, otherDecision,
    otherName, takeOther, keepMine, earlier, isDecided, start,
    isRenamed: (item) => Boolean(item.vertebrae) && !same(shown(item).names, namesOf(item)),
    isEmpty: () => decisions.size === 0,
    text: () => `${JSON.stringify(toReview(), null, 1)}\n`,
    problem: () => problem,
    reader: () => reader,
    setReader: (name) => { reader = name; changed(); },
    listen: (listener) => { onChange = listener; },
    key: KEY,
  };
})();
