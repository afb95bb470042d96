"use strict";

// review.json on the disk, where the browser can write files (File System Access API). Every
// decision is written at once. What someone else has written in the meantime is read first, and
// never replaced by less.
const LinkedFile = (() => {
  const [DATABASE, TABLE] = ["spinemamba-triage", "files"];
  const TYPES = [{ description: "Review", accept: { "application/json": [".json"] } }];
  const REASONS = {
    NotAllowedError: "the browser was not allowed to write it.",
    SecurityError: "the browser was not allowed to write it.",
    NotFoundError: "it was moved or deleted.",
    QuotaExceededError: "the disk is full.",
    NoModificationAllowedError: "another program is writing it.",
    InvalidStateError: "it was changed while it was read.",
  };
  let handle = null;
  // Text that this page has written or read last.
  let known = null;
  let state = "none";
  let problem = "";
  let queue = Promise.resolve();
  let onState = () => {};
  let onTaken = () => {};

  const isPossible = () => "showSaveFilePicker" in globalThis && "showOpenFilePicker" in globalThis;

  function enter(next, reason = "") {
    [state, problem] = [next, reason];
    onState();
  }

  function reasonOf(error) {
    return REASONS[error.name] || error.message;
  }

  // The handle outlives a reload in the browser's database; without one it is chosen again.
  function database(mode, work) {
    return new Promise((resolve, reject) => {
      const opening = indexedDB.open(DATABASE, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
      opening.onerror = () => reject(opening.error);
      opening.onsuccess = () => {
        const request = work(opening.result.transaction(TABLE, mode).objectStore(TABLE));
        request.onsuccess = () => { opening.result.close(); resolve(request.result); };
        request.onerror = () => { opening.result.close(); reject(request.error); };
      };
    });
  }

  async function remember() {
    try {
      await database("readwrite", (table) => table.put(handle, Store.key));
    } catch {
      // The file is chosen again after a reload.
    }
  }

  // Choose a file; return whether one was chosen.
  async function choose(isNew) {
    try {
      const chosen = isNew
        ? await showSaveFilePicker({ suggestedName: "review.json", types: TYPES })
        : (await showOpenFilePicker({ types: TYPES }))[0];
      [handle, known] = [chosen, null];
    } catch (error) {
      if (error.name === "AbortError") return false;
      enter(handle ? state : "none", `No file was chosen: ${reasonOf(error)}`);
      return true;
    }
    await remember();
    await goOn();
    return true;
  }

  // Write again after a reload or an error; a click lets the browser ask for the permission.
  async function goOn() {
    try {
      const granted = await handle.requestPermission({ mode: "readwrite" });
      if (granted !== "granted") {
        enter("failed", REASONS.NotAllowedError);
        return;
      }
    } catch (error) {
      enter("failed", reasonOf(error));
      return;
    }
    enter("good");
    await write();
  }

  async function stop() {
    handle = null;
    enter("none");
    try {
      await database("readwrite", (table) => table.delete(Store.key));
    } catch {
      // Nothing was remembered.
    }
  }

  // Take over what the same reader has written elsewhere.
  async function readChanges() {
    const text = await (await handle.getFile()).text();
    if (text === known || text === "") return;
    const { taken, outdated } = Store.merge(Review.parse(text));
    known = text;
    if (taken || outdated.length) onTaken(handle.name, taken, outdated);
  }

  async function writeNow() {
    if (!handle || state === "waiting") return;
    try {
      await readChanges();
      const text = Store.text();
      if (text !== known) {
        const stream = await handle.createWritable();
        try {
          await stream.write(text);
          await stream.close();
        } catch (error) {
          // The file keeps its content until the stream is closed.
          await stream.abort().catch(() => {});
          throw error;
        }
        known = text;
      }
      if (state !== "good") enter("good");
    } catch (error) {
      enter("failed", reasonOf(error));
    }
  }

  function write() {
    queue = queue.then(writeNow);
    return queue;
  }

  // After a reload, the browser may want to be asked again.
  async function restore() {
    if (!isPossible()) return;
    try {
      handle = await database("readonly", (table) => table.get(Store.key)) || null;
      if (!handle) return;
      const isGranted = await handle.queryPermission({ mode: "readwrite" }) === "granted";
      enter(isGranted ? "good" : "waiting");
    } catch {
      handle = null;
      return;
    }
    await write();
  }

  // Return the text of the button, and a sentence about a problem.
  function words() {
    const name = handle ? handle.name : "";
    const kept = "The browser keeps all decisions.";
    return {
      none: ["Keep a file up to date", problem],
      good: [`Up to date: ${name}`, ""],
      waiting: [`Go on with ${name}`, `${name} is not written since the page was opened again.`],
      failed: [`Not up to date: ${name}`, `${name} is not up to date: ${problem} ${kept}`],
    }[state];
  }

  return {
    isPossible, choose, goOn, stop, write, restore, words,
    state: () => state,
    name: () => (handle ? handle.name : ""),
    listen: (changed, taken) => { [onState, onTaken] = [changed, taken]; },
  };
})();
