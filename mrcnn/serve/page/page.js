// The page: pictures go to the server once, and all else is done here.

const $ = (id) => document.getElementById(id);
const LARGEST = 3; // times that a small picture is enlarged
const AT_ONCE = 2; // pictures on their way: the next one comes in while one is looked through
const TRIES = 20; // where the server is busy

const state = { model: null, token: "", pictures: [], shown: null, lit: null, threshold: 0.5, moved: false };

// -- The server -----------------------------------------------------------------------------

async function ask(path, body) {
  const headers = state.token ? { Authorization: `Bearer ${state.token}` } : {};
  const response = await fetch(path, body ? { method: "POST", body, headers } : { headers });
  if (response.ok) return response;
  let sentence = `The server answers ${response.status}.`;
  try { sentence = (await response.json()).detail || sentence; } catch { /* no JSON */ }
  throw Object.assign(new Error(sentence), {
    status: response.status, after: Number(response.headers.get("Retry-After")) || 2,
  });
}

async function patiently(path, body) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask(path, body);
    } catch (error) {
      if (error.status !== 503 || tries === TRIES) throw error;
      await new Promise((go) => setTimeout(go, 1000 * error.after));
    }
  }
}

function inWords(error) {
  return error instanceof TypeError ? "The server can't be reached." : error.message;
}

async function begin() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  state.token = sessionStorage.getItem("token") || "";
  await meet();
}

async function meet() {
  try {
    state.model = await (await ask("v1/model")).json();
  } catch (error) {
    const locked = error.status === 401;
    $("asking").hidden = !locked;
    $("drop").hidden = true;
    complain(locked && !state.token ? "" : inWords(error));
    return;
  }
  const { name, class_names: names, note, lowest, threshold, limits, label_formats } = state.model;
  $("asking").hidden = true;
  $("drop").hidden = false;
  complain("");
  const more = names.length > 8 ? ` and ${names.length - 8} more` : "";
  $("about").textContent = `finds ${names.slice(0, 8).join(", ")}${more} (weights: ${name})`;
  $("note").textContent = note;
  $("note").hidden = !note;
  $("limits").textContent = `Up to ${Math.round(limits.bytes / 2 ** 20)} MB each.`;
  const slider = $("threshold");
  slider.min = Math.min(lowest, threshold);
  slider.max = 1;
  slider.value = state.threshold = threshold;
  $("formats").replaceChildren(...label_formats.map(formatButton));
}

const TOOLS = { coco: "COCO", via: "VIA", labelme: "LabelMe", yolo: "YOLO", labelstudio: "Label Studio", cvat: "CVAT", voc: "VOC" };

function formatButton(format) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.save = format;
  button.textContent = TOOLS[format] || format;
  return button;
}

// -- Pictures in ----------------------------------------------------------------------------

function add(files) {
  if (!state.model) return;
  const pictures = [...files].map((file) => ({ file, name: file.name || "pasted.png", state: "waiting" }));
  if (!pictures.length) return;
  complain("");
  document.body.classList.add("begun");
  state.pictures.push(...pictures);
  state.shown ||= pictures[0];
  showStrip();
  for (let i = 0; i < AT_ONCE; i++) work();
}

let working = 0;

async function work() {
  if (working >= AT_ONCE) return;
  working++;
  for (let picture; (picture = state.pictures.find((one) => one.state === "waiting")); ) {
    picture.state = "looking";
    showStrip();
    try {
      await look(picture);
      picture.state = "done";
      tell(`${picture.name}: ${counted(picture.instances.filter(visible).length)}.`);
    } catch (error) {
      picture.state = "failed";
      const reason = inWords(error);
      picture.reason = reason.includes(picture.name) ? reason : `${picture.name}: ${reason}`;
      showWrong();
    }
    if (state.shown.state === "failed" && picture.state === "done") state.shown = picture;
    showStrip();
    if (state.shown === picture) show(picture);
  }
  working--;
}

async function look(picture) {
  const { limits, lowest, threshold } = state.model;
  if (picture.file.size > limits.bytes) throw new Error(`more than ${Math.round(limits.bytes / 2 ** 20)} MB, the most that the server takes.`);
  const least = Math.min(lowest, threshold);
  const path = `v1/detect?threshold=${least}&name=${encodeURIComponent(picture.name)}`;
  picture.result = await (await patiently(path, picture.file)).json();
  picture.bitmap = await bitmapOf(picture.file);
  const { width, height } = picture.result.images[0];
  const names = new Map(picture.result.categories.map(({ id, name }) => [id, name]));
  Object.assign(picture, { width, height });
  picture.instances = picture.result.annotations.map((row, i) => ({
    row, name: names.get(row.category_id), score: row.score, area: row.area,
    hue: Math.round(i * 137.508 + 205) % 360, path: outline(row.segmentation),
  }));
}

async function bitmapOf(file) {
  try {
    return await createImageBitmap(file);
  } catch { // a kind that browsers don't show, such as TIFF
    return createImageBitmap(await (await patiently("v1/picture", file)).blob());
  }
}

// -- Masks ----------------------------------------------------------------------------------

// Lengths of runs of 0 and 1 by turns, column by column, from COCO's packed text.
function runsOf(text) {
  const runs = [];
  for (let i = 0; i < text.length; ) {
    let run = 0, place = 0, group;
    do {
      group = text.charCodeAt(i++) - 48;
      run += (group & 31) * 2 ** place;
      place += 5;
    } while (group & 32);
    if (group & 16) run -= 2 ** place;
    runs.push(runs.length > 2 ? run + runs[runs.length - 2] : run);
  }
  return runs;
}

// The outline of a mask as a path, holes included, in pixels of the picture.
function outline({ size: [height], counts }) {
  const spans = [];
  let at = 0, left = Infinity, right = 0, top = Infinity, bottom = 0;
  runsOf(counts).forEach((run, i) => {
    for (let end = at + run; i % 2 && at < end; ) {
      const x = Math.floor(at / height), y = at - x * height, length = Math.min(end - at, height - y);
      spans.push([x, y, length]);
      left = Math.min(left, x), right = Math.max(right, x + 1);
      top = Math.min(top, y), bottom = Math.max(bottom, y + length);
      at += length;
    }
    if (i % 2 === 0) at += run;
  });
  const path = new Path2D();
  if (!spans.length) return path;
  const wide = right - left + 2, mask = new Uint8Array(wide * (bottom - top + 2)); // with a margin
  for (const [x, y, length] of spans) {
    for (let i = 0; i < length; i++) mask[(y + i - top + 1) * wide + x - left + 1] = 1;
  }
  trace(path, mask, wide, left - 1, top - 1);
  return path;
}

// Follow the edges between inside and outside, the inside to the right; a point at each middle.
function trace(path, mask, wide, left, top) {
  const steps = [1, wide, -1, -wide]; // of a corner: east, south, west, north
  const edges = new Uint8Array(mask.length + wide + 1); // a bit for each way that one starts here
  mask.forEach((inside, i) => {
    if (!inside) return;
    if (!mask[i - wide]) edges[i] |= 1;
    if (!mask[i + 1]) edges[i + 1] |= 2;
    if (!mask[i + wide]) edges[i + wide + 1] |= 4;
    if (!mask[i - 1]) edges[i + wide] |= 8;
  });
  for (let first = 0; first < edges.length; first++) {
    while (edges[first]) {
      let corner = first, way = 31 - Math.clz32(edges[first] & -edges[first]), before = -1, begun = false;
      while (edges[corner] & (1 << way)) {
        edges[corner] &= ~(1 << way);
        const x = (corner % wide) + left + [0.5, 0, -0.5, 0][way];
        const y = Math.floor(corner / wide) + top + [0, 0.5, 0, -0.5][way];
        if (!begun) path.moveTo(x, y), (begun = true);
        else path.lineTo(x, y);
        before = way;
        corner += steps[way];
        way = [3, 0, 1].map((turn) => (before + turn) % 4).find((next) => edges[corner] & (1 << next)) ?? before;
      }
      path.closePath();
    }
  }
}

// -- What is seen ---------------------------------------------------------------------------

// Until the slider is moved, each class has the least score that was chosen for it, where one was.
const least = (name) => (state.moved ? undefined : state.model.of_classes[name]) ?? state.threshold;
const visible = (instance) => instance.score >= least(instance.name);
const counted = (count) => `${count || "no"} instance${count === 1 ? "" : "s"}`;

function showStrip() {
  const items = state.pictures.map((picture) => {
    picture.item ||= stripItem(picture);
    const [button] = picture.item.children, [thumb, , words] = button.children;
    const done = picture.state === "done";
    const count = done ? picture.instances.filter(visible).length : 0;
    const text = done ? counted(count) : { waiting: "waiting", looking: "looking ..", failed: "failed" }[picture.state];
    if (words.textContent !== text) words.textContent = text;
    button.classList.toggle("failed", picture.state === "failed");
    button.setAttribute("aria-current", picture === state.shown);
    if (done && !picture.thumbed) {
      const scale = Math.min(220 / picture.width, 116 / picture.height);
      paint(thumb, picture, scale, 1, null);
      picture.thumbed = true;
    }
    return picture.item;
  });
  const list = $("pictures").firstElementChild;
  for (const item of items) if (!item.isConnected) list.append(item);
  $("every").hidden = state.pictures.filter((one) => one.state === "done").length < 2;
  $("pictures").hidden = items.length === 1 && state.shown.state === "done";
}

function stripItem(picture) {
  const item = document.createElement("li"), button = document.createElement("button");
  const name = document.createElement("span"), words = document.createElement("span");
  const thumb = document.createElement("canvas");
  thumb.width = thumb.height = 1;
  button.type = "button";
  name.textContent = button.title = picture.name;
  words.className = "state";
  button.append(thumb, name, words);
  button.addEventListener("click", () => show(picture));
  item.append(button);
  return item;
}

function show(picture) {
  state.shown = picture;
  state.lit = null;
  const done = picture.state === "done";
  $("result").hidden = !done;
  showStrip();
  if (!done) return;
  const { width, height, result } = picture;
  const more = result.info.limited ? " There may be more: as many were found as the model lets through." : "";
  $("caption").textContent = `${picture.name}, ${width} x ${height}, ${result.info.seconds} s.${more}`;
  refresh();
}

function refresh() {
  const picture = state.shown;
  if (picture?.state !== "done") return;
  const found = picture.instances.filter(visible);
  if (!found.includes(state.lit)) state.lit = null;
  const own = !state.moved && Object.keys(state.model.of_classes).length;
  $("least").textContent = own ? "by class" : state.threshold.toFixed(2);
  $("threshold").setAttribute("aria-valuetext", `${state.threshold.toFixed(2)}, ${counted(found.length)}`);
  const tally = new Map();
  for (const { name } of found) tally.set(name, (tally.get(name) || 0) + 1);
  const classes = [...tally].sort((a, b) => b[1] - a[1]).map(([name, count]) => `${count} ${name}`);
  const single = tally.size === 1 ? `: ${found[0].name}` : "";
  $("count").textContent = found.length ? counted(found.length) + single : "Nothing found";
  $("classes").replaceChildren(...(tally.size > 1 ? classes : []).map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  $("canvas").setAttribute("aria-label", `${picture.name}: ${counted(found.length)}${classes.length ? `, ${classes.join(", ")}` : ""}`);
  $("list").replaceChildren(...found.map(option));
  $("list").tabIndex = found.length ? 0 : -1;
  light(state.lit, false);
  showStrip();
}

function option(instance) {
  if (!instance.option) {
    const row = document.createElement("div"), swatch = document.createElement("i");
    const name = document.createElement("span"), score = document.createElement("b");
    row.setAttribute("role", "option");
    row.id = `instance-${option.count = (option.count || 0) + 1}`;
    swatch.style.background = `hsl(${instance.hue} 85% 52%)`;
    name.textContent = instance.name;
    score.textContent = instance.score.toFixed(2);
    row.append(swatch, name, score);
    row.addEventListener("pointerenter", () => light(instance, false));
    row.addEventListener("click", () => light(instance, false));
    instance.option = row;
  }
  return instance.option;
}

// Light up an instance in the picture and in the list; null: none.
function light(instance, scroll = true) {
  state.lit = instance;
  for (const row of $("list").children) row.setAttribute("aria-selected", "false");
  $("list").removeAttribute("aria-activedescendant");
  if (instance) {
    const row = option(instance), list = $("list");
    row.setAttribute("aria-selected", "true");
    list.setAttribute("aria-activedescendant", row.id);
    if (scroll) {
      const above = row.offsetTop - list.offsetTop, below = above + row.offsetHeight;
      if (above < list.scrollTop) list.scrollTop = above;
      else if (below > list.scrollTop + list.clientHeight) list.scrollTop = below - list.clientHeight;
    }
  }
  draw();
  showTip(instance);
}

function draw() {
  const picture = state.shown;
  if (picture?.state !== "done") return;
  const room = $("frame").clientWidth, tall = Math.max(innerHeight * 0.78, 240);
  const scale = Math.min(room / picture.width, tall / picture.height, LARGEST);
  const canvas = $("canvas");
  canvas.style.width = `${Math.round(picture.width * scale)}px`;
  picture.scale = scale;
  paint(canvas, picture, scale, devicePixelRatio || 1, state.lit);
}

// The picture with its visible instances. sharp: pixels of the canvas for each of the page.
function paint(canvas, picture, scale, sharp, lit) {
  const { width, height } = picture, whole = scale * sharp;
  canvas.width = Math.max(1, Math.round(width * whole));
  canvas.height = Math.max(1, Math.round(height * whole));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  context.setTransform(whole, 0, 0, whole, 0, 0);
  context.lineJoin = "round";
  const found = picture.instances.filter(visible).sort((a, b) => b.area - a.area);
  for (const instance of lit ? [...found.filter((one) => one !== lit), lit] : found) {
    const strong = instance === lit, quiet = lit && !strong;
    context.fillStyle = `hsl(${instance.hue} 85% 52% / ${strong ? 0.55 : quiet ? 0.12 : 0.3})`;
    context.fill(instance.path, "evenodd");
    const line = Math.max(1, Math.min(2, scale * 40)) / scale;
    context.strokeStyle = strong ? "#ffffff" : "rgb(0 0 0 / .45)";
    context.lineWidth = line * (strong ? 3 : 1.8);
    context.stroke(instance.path);
    context.strokeStyle = `hsl(${instance.hue} 90% ${strong ? 42 : 60}%)`;
    context.lineWidth = line * (strong ? 1.6 : 1);
    context.stroke(instance.path);
  }
}

function showTip(instance) {
  const tip = $("tip"), picture = state.shown;
  tip.hidden = !instance;
  if (!instance) return;
  tip.textContent = `${instance.name} ${instance.score.toFixed(2)}`;
  const [x, y, width, height] = instance.row.bbox, scale = picture.scale;
  const canvas = $("canvas"), frame = $("frame");
  const middle = canvas.offsetLeft + (x + width / 2) * scale - tip.offsetWidth / 2;
  const above = y * scale - tip.offsetHeight - 6;
  tip.style.left = `${Math.max(0, Math.min(middle, frame.clientWidth - tip.offsetWidth))}px`;
  tip.style.top = `${above >= 0 ? above : Math.min((y + height) * scale + 6, canvas.offsetHeight - tip.offsetHeight)}px`;
}

function complain(text) {
  state.wrong = text;
  showWrong();
}

// What went wrong last, and what became of each picture that failed.
function showWrong() {
  const text = [state.wrong, ...state.pictures.map((one) => one.reason)].filter(Boolean).join("\n");
  if ($("error").textContent !== text) $("error").textContent = text;
}

let telling;
function tell(text) { // not every step of a slider is read out
  clearTimeout(telling);
  telling = setTimeout(() => { $("status").textContent = text; }, 300);
}

// -- What the user does ---------------------------------------------------------------------

function instanceAt(event) {
  const picture = state.shown, canvas = $("canvas"), box = canvas.getBoundingClientRect();
  if (picture?.state !== "done") return null;
  const x = ((event.clientX - box.left) * picture.width) / box.width;
  const y = ((event.clientY - box.top) * picture.height) / box.height;
  const context = canvas.getContext("2d");
  context.resetTransform(); // the point is in pixels of the picture, as the paths are
  const hit = picture.instances.filter((one) => visible(one) && context.isPointInPath(one.path, x, y, "evenodd"));
  return hit.sort((a, b) => a.area - b.area)[0] || null;
}

let pointed = ""; // a page that scrolls under a pointer at rest tells of moves that are none
for (const kind of ["pointermove", "pointerdown"]) {
  $("canvas").addEventListener(kind, (event) => {
    const where = `${event.screenX} ${event.screenY}`;
    if (kind === "pointermove" && where === pointed) return;
    pointed = where;
    const instance = instanceAt(event);
    if (instance !== state.lit) light(instance);
  });
}
// Who goes through the list by keys keeps what is lit, wherever the pointer rests.
const leave = () => { if (document.activeElement !== $("list")) light(null); };
$("canvas").addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") leave(); });
$("list").addEventListener("pointerleave", leave);
$("list").addEventListener("blur", () => light(null));
$("list").addEventListener("focus", () => {
  if (!state.lit) light(state.shown.instances.find(visible) || null);
});
$("list").addEventListener("keydown", (event) => {
  const found = state.shown.instances.filter(visible), at = found.indexOf(state.lit);
  const next = { ArrowDown: at + 1, ArrowUp: Math.max(at - 1, 0), Home: 0, End: found.length - 1, PageDown: at + 10, PageUp: Math.max(at - 10, 0) }[event.key];
  if (event.key === "Escape") light(null);
  if (next === undefined || !found.length) return;
  event.preventDefault();
  light(found[Math.min(next, found.length - 1)]);
});

$("threshold").addEventListener("input", (event) => {
  state.threshold = Number(event.target.value);
  state.moved = true;
  requestAnimationFrame(() => {
    refresh();
    tell(`${$("count").textContent} at ${state.threshold.toFixed(2)} or more.`);
  });
});

$("choose").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  add(event.dataTransfer.files);
});
new ResizeObserver(() => { draw(); showTip(state.lit); }).observe($("frame"));

$("asking").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value.trim();
  sessionStorage.setItem("token", state.token);
  meet();
});

// -- Downloads ------------------------------------------------------------------------------

// What is seen, as the server gives it: of the picture that is shown, or of all.
function seen() {
  const every = !$("every").hidden && $("every").firstElementChild.checked;
  const pictures = every ? state.pictures.filter((one) => one.state === "done") : [state.shown];
  const { info, categories } = state.shown.result, images = [], annotations = [];
  for (const picture of pictures) {
    const image_id = images.length + 1;
    images.push({ ...picture.result.images[0], id: image_id });
    for (const { row } of picture.instances.filter(visible)) annotations.push({ ...row, image_id, id: annotations.length + 1 });
  }
  return { info: { ...info, threshold: state.threshold }, images, categories, annotations };
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  tell(`${name} is downloaded.`);
}

async function save(what) {
  const stem = state.shown.name.replace(/\.[^.]*$/, "");
  if (what === "png") {
    const canvas = document.createElement("canvas");
    paint(canvas, state.shown, 1, 1, null);
    download(await new Promise((done) => canvas.toBlob(done, "image/png")), `${stem}_found.png`);
  } else if (what === "json") {
    download(new Blob([JSON.stringify(seen())], { type: "application/json" }), `${stem}_found.json`);
  } else {
    const response = await patiently(`v1/labels/${what}`, JSON.stringify(seen()));
    const name = /filename="(.+)"/.exec(response.headers.get("Content-Disposition"))?.[1] || what;
    download(await response.blob(), name);
  }
}

$("save").addEventListener("click", async (event) => {
  const what = event.target.dataset.save;
  if (!what) return;
  event.target.disabled = true;
  complain("");
  try { await save(what); } catch (error) { complain(inWords(error)); }
  event.target.disabled = false;
  event.target.focus();
});

begin();
