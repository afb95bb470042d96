"use strict";

// Rules of numbering, as in spinemamba/anatomy/numbering_rules.py. A chain is the list of level
// names from head to tail. Every function returns a new chain, or throws an Error for the reader.
const Names = (() => {
  const FIXED = ["Sacrum", "Coccyx"];
  const all = TRIAGE.levels.map(([name]) => name);

  // Return the chain if its names are in order, each once.
  function checked(chain) {
    chain.forEach((name, k) => {
      if (chain.indexOf(name) !== k) throw new Error(`Two vertebrae would be ${name}.`);
      if (k && all.indexOf(chain[k - 1]) > all.indexOf(name)) {
        throw new Error(`${name} would be below ${chain[k - 1]}.`);
      }
    });
    return chain;
  }

  // Shift names by some levels, towards the tail if positive; `positions` are indices to shift.
  function shifted(chain, by, positions = null) {
    const levels = all.filter(
      (name) => !FIXED.includes(name) && (!TRIAGE.rare.includes(name) || chain.includes(name)));
    if (!levels.includes("L6") && chain.includes("Sacrum")) levels.push("L6");
    else if (!chain.includes("Sacrum")) levels.push("Sacrum");
    return chain.map((name, k) => {
      if (FIXED.includes(name) || (positions && !positions.includes(k))) return name;
      const next = levels[levels.indexOf(name) + by];
      if (!next) throw new Error(`There is no level ${by > 0 ? "below" : "above"} ${name}.`);
      return next;
    });
  }

  function shift(chain, by) {
    return checked(shifted(chain, by));
  }

  // Rename one vertebra, and with `others` also the rest, so that their distances stay.
  function rename(chain, index, level, others) {
    const set = (names) => checked(names.map((name, k) => (k === index ? level : name)));
    if (!others || chain[index] === level) return set(chain);
    if (TRIAGE.rare.includes(level)) return set(inserted(chain, index, level));
    if (FIXED.includes(level) || FIXED.includes(chain[index])) return set(chain);
    const usual = all.filter((name) => !TRIAGE.rare.includes(name) || name === chain[index]);
    return set(shifted(chain, usual.indexOf(level) - usual.indexOf(chain[index])));
  }

  // Make room for T13 or L6 on the side from which the vertebra was counted.
  function inserted(chain, index, level) {
    const old = chain[index];
    const above = chain.map((_, k) => k).filter((k) => k < index);
    const below = chain.map((_, k) => k).filter((k) => k > index);
    if ((level === "T13" && old === "T12") || (level === "L6" && old === "L5")) {
      return shifted(chain, 1, above);
    }
    if (level === "T13" && old === "L1") return shifted(chain, -1, below);
    if (level === "L6" && old === "Sacrum") return chain;
    throw new Error(`${old} cannot be ${level}. Choose the neighbour of its place.`);
  }

  const range = (chain) => (chain.length ? `${chain[0]} to ${chain[chain.length - 1]}` : "none");

  return { all, checked, shift, rename, range };
})();
