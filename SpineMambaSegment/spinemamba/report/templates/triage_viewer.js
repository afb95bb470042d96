"use strict";

// Slices and 3-D of a case by NiiVue. Its script, and the volumes of a case, are loaded when needed.
// All cases share one canvas: browsers allow few WebGL contexts.
const Viewer = (() => {
  const OPACITY = 0.45;
  // NiiVue's layout of two rows: a spine is tall, and four slices in a row would be small.
  const GRID = 2;
  const STEPS = {
    ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1], ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0],
    PageUp: [0, 1, 0], PageDown: [0, -1, 0],
  };
  let canvas = null;
  // NiiVue stops when its canvas leaves its parent; the parent may move.
  let frame = null;
  let niivue = null;
  let current = 0;
  let shown = null;
  let mode = "slices";
  let queue = Promise.resolve();

  function load(source) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.onload = () => { element.remove(); resolve(); };
      element.onerror = () => { element.remove(); reject(new Error(`${source} is missing.`)); };
      element.src = source;
      document.head.append(element);
    });
  }

  function bytes(base64) {
    return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
  }

  function hasWebGl() {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  }

  async function start() {
    if (niivue) return;
    if (!hasWebGl()) throw new Error("This browser has no WebGL 2 for slices and 3-D.");
    if (!globalThis.Niivue) await load(TRIAGE.viewer);
    const made = new Niivue({
      logLevel: "error", isRadiologicalConvention: true, dragAndDropEnabled: false,
      crosshairWidth: 0.4, crosshairColor: [1, 1, 1, 0.6], backColor: [0.05, 0.06, 0.08, 1],
      multiplanarShowRender: 1, multiplanarLayout: GRID,
    });
    await made.attachToCanvas(canvas);
    niivue = made;
  }

  // Show a case in a box; `onPlace` is called with the number of the vertebra at the cross. One
  // case is loaded after the other, so that volumes of two cases never mix.
  function show(item, box, onPlace) {
    const turn = ++current;
    queue = queue.catch(() => {}).then(async () => {
      if (turn !== current || !box.isConnected) return;
      shown = null;
      place(box);
      await start();
      await load(`triage/${encodeURIComponent(item.case)}/volumes.js`);
      const volumes = globalThis.VOLUMES;
      delete globalThis.VOLUMES;
      for (const volume of [...niivue.volumes]) niivue.removeVolume(volume);
      await niivue.loadFromArrayBuffer(bytes(volumes.image), "image.nii.gz");
      await niivue.loadFromArrayBuffer(bytes(volumes.instances), "instances.nii.gz");
      niivue.onLocationChange = (found) => onPlace(Math.round((found.values[1] || {}).value || 0));
      shown = item;
      rename(item);
      setMode(mode);
      canvas.dataset.ready = item.case;
    });
    return queue;
  }

  function place(box) {
    if (!canvas) {
      canvas = document.createElement("canvas");
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label",
        "Slices and 3-D of the spine. Arrows and Page keys move the cross.");
      canvas.addEventListener("keydown", move);
      frame = document.createElement("div");
      frame.className = "canvas";
      frame.append(canvas);
    }
    delete canvas.dataset.ready;
    box.replaceChildren(frame);
  }

  function move(event) {
    const step = STEPS[event.key];
    if (!step || !shown || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    niivue.moveCrosshairInVox(...step);
  }

  // Give the vertebrae the names and colours that the reader has chosen.
  function rename(item) {
    if (!niivue || shown !== item || niivue.volumes.length < 2) return;
    const colors = new Map(TRIAGE.levels);
    const names = Store.shown(item).names;
    const table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    item.vertebrae.forEach(({ id }, k) => {
      const color = parseInt(colors.get(names[k]).slice(1), 16);
      table.R.push(color >> 16);
      table.G.push((color >> 8) & 255);
      table.B.push(color & 255);
      table.A.push(255);
      table.I.push(id);
      table.labels.push(names[k]);
    });
    niivue.volumes[1].setColormapLabel(table);
    niivue.updateGLVolume();
  }

  function setMode(next) {
    mode = next;
    if (!niivue || !shown || niivue.volumes.length < 2) return;
    const is3d = mode === "3-D";
    // In 3-D, tissue would hide the vertebrae.
    niivue.setOpacity(0, is3d ? 0 : 1);
    niivue.setOpacity(1, is3d ? 1 : OPACITY);
    niivue.setSliceType(is3d ? niivue.sliceTypeRender : niivue.sliceTypeMultiplanar);
  }

  return {
    show, rename, setMode, mode: () => mode, isReady: (item) => shown === item,
    isFocused: () => canvas !== null && document.activeElement === canvas,
  };
})();
