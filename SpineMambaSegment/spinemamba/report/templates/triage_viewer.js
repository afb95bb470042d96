"use strict";

// Slices and 3-D of a case by NiiVue. Its script, and the volumes of a case, are loaded when needed.
const Viewer = (() => {
  const OPACITY = 0.45;
  let script = null;
  let niivue = null;
  let current = 0;
  let shown = null;

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

  async function start(canvas) {
    if (!hasWebGl()) throw new Error("This browser has no WebGL 2 for slices and 3-D.");
    script = script || load(TRIAGE.viewer);
    await script;
    if (niivue && niivue.canvas === canvas) return;
    niivue = new Niivue({
      logLevel: "error", isRadiologicalConvention: true, dragAndDropEnabled: false,
      crosshairWidth: 0.4, crosshairColor: [1, 1, 1, 0.6], backColor: [0.05, 0.06, 0.08, 1],
      multiplanarShowRender: 1,
    });
    await niivue.attachToCanvas(canvas);
  }

  // Show a case; `onPlace` is called with the number of the vertebra at the cross.
  async function show(item, canvas, onPlace) {
    const turn = ++current;
    await start(canvas);
    await load(`triage/${encodeURIComponent(item.case)}/volumes.js`);
    if (turn !== current) return;
    const volumes = globalThis.VOLUMES;
    delete globalThis.VOLUMES;
    for (const volume of [...niivue.volumes]) niivue.removeVolume(volume);
    await niivue.loadFromArrayBuffer(bytes(volumes.image), "image.nii.gz");
    await niivue.loadFromArrayBuffer(bytes(volumes.instances), "instances.nii.gz");
    if (turn !== current) return;
    niivue.onLocationChange = (place) => onPlace(Math.round((place.values[1] || {}).value || 0));
    shown = item;
    rename(item);
    setMode("slices");
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

  function setMode(mode) {
    if (!niivue || niivue.volumes.length < 2) return;
    const is3d = mode === "3-D";
    // In 3-D, tissue would hide the vertebrae.
    niivue.setOpacity(0, is3d ? 0 : 1);
    niivue.setOpacity(1, is3d ? 1 : OPACITY);
    niivue.setSliceType(is3d ? niivue.sliceTypeRender : niivue.sliceTypeMultiplanar);
  }

  return { show, rename, setMode, isReady: (item) => shown === item };
})();
