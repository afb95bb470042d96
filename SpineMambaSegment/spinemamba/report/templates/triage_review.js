"use strict";

// Reading of review.json, by the rules of spinemamba/protocol/review.py. Every function throws an
// Error with a sentence for the reader.
const Review = (() => {
  const STATES = ["", "approved", "flagged"];
  const MOST_NAMES = 5;

  // Return a review of this format.
  function parse(text) {
    let review = null;
    try {
      review = JSON.parse(text);
    } catch {
      throw new Error("The file is damaged: it is not JSON.");
    }
    if (review && typeof review === "object" && "fixed_levels" in review) {
      throw new Error("It is the review of one segmentation. Open it in Slicer.");
    }
    if (!review || !Array.isArray(review.decisions) || !Number.isInteger(review.schema)) {
      throw new Error("It is not the review of a cohort.");
    }
    if (review.schema !== TRIAGE.schema) {
      throw new Error(`It has format ${review.schema}; this page reads format ${TRIAGE.schema}. `
        + "Use the page of the version that wrote it.");
    }
    if (typeof review.reviewer !== "string") throw new Error("Its reader has no name.");
    review.decisions.forEach((decision, k) => check(decision, k, review.decisions));
    return review;
  }

  // Check the form of a decision; whether it fits a case is another question.
  function check(decision, k, all) {
    const fail = (what) => { throw new Error(`The file is damaged: decision ${k + 1} ${what}.`); };
    const texts = ["case", "run_id", "result_sha256", "note", "time"];
    if (!decision || texts.some((key) => typeof decision[key] !== "string")) fail("is incomplete");
    if (!STATES.includes(decision.status)) fail(`has the unknown state ${decision.status}`);
    if (!Array.isArray(decision.levels)) fail("has no list of levels");
    for (const level of decision.levels) {
      if (!level || !Names.all.includes(level.after)) fail("has an unknown level");
    }
    if (all.findIndex((other) => other.case === decision.case) !== k) {
      fail(`is the second one of ${decision.case}`);
    }
  }

  // Return the decisions about the results of this page, and those about others.
  function sorted(review, byName) {
    const found = new Map();
    const outdated = [];
    for (const decision of review.decisions) {
      const item = byName.get(decision.case);
      if (!item || item.resultSha256 !== decision.result_sha256) outdated.push(decision);
      else found.set(decision.case, fitted(decision, item));
    }
    return { found, outdated };
  }

  function fitted({ status, levels, note, time }, item) {
    const after = new Map(levels.map((level) => [level.id, level.after]));
    const names = item.vertebrae.map((vertebra) => after.get(vertebra.id) || vertebra.name);
    try {
      return { status, names: Names.checked(names), note, time };
    } catch (error) {
      throw new Error(`Its decision about ${item.case} is impossible. ${error.message}`);
    }
  }

  // Return a sentence about decisions that were left out; empty without any.
  function leftOut(decisions) {
    if (!decisions.length) return "";
    const names = decisions.slice(0, MOST_NAMES).map((decision) => decision.case);
    if (decisions.length > MOST_NAMES) names.push(`${decisions.length - MOST_NAMES} more`);
    const verb = decisions.length === 1 ? "One decision is" : `${decisions.length} decisions are`;
    return `${verb} about results that have changed since, or are not here, and left out: `
      + `${names.join(", ")}.`;
  }

  return { parse, sorted, leftOut };
})();
