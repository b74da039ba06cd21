// The page: photos in, records out, from the service or on this device. Nothing is asked of anybody else.

import { showFaces, showLabels } from "./answer.js";
import { setUpCamera } from "./camera.js";
import * as device from "./device.js";
import { drawFaces, drawPhoto, hideFaces } from "./draw.js";
import * as service from "./service.js";

const $ = (id) => document.getElementById(id);
const hasService = document.documentElement.dataset.service === "yes";
const hasDevice = document.documentElement.dataset.device === "yes";
const KEPT = "aicli-on-this-device";
const photos = []; // {file, bitmap}
let chosen = -1;
let records = []; // one, or one for each frame
let record = null; // the one that is shown
let made = null; // {blob, bitmap}: the picture that the service made, with faces hidden or of all frames
let spared = []; // [x, y] in pixels of the photo: faces there are left as they are
let coverPicture = null; // what is laid on faces here
let current = -1;
let running = null;
let timer = 0;

const task = () => document.querySelector("input[name=task]:checked").value;
const onDevice = () => $("device").checked;
const own = () => (task() === "classify" && $("own-model").files[0]) || null;
const cover = () => ($("hide").value === "cover" && $("cover").files[0]) || null;
const hides = () => (task() !== "faces" || ($("hide").value === "cover" && !cover()) ? "" : $("hide").value);
const holds = ([x1, y1, x2, y2], [x, y]) => x1 <= x && x <= x2 && y1 <= y && y <= y2;
const isSpared = ({ box }) => spared.some((point) => holds(box, point));

/** What is asked for now. */
function settings() {
  const values = Object.fromEntries(["top", "min_score", "min_size", "factor", "model"].map((id) => [id, $(id).value]));
  const checks = ["landmarks", "scores", "turns", "border", "all_frames"].map((id) => [id, $(id).checked]);
  return {
    ...values,
    ...Object.fromEntries(checks),
    task: task(),
    device: onDevice(),
    usualModel: $("model").dataset.usual,
    own: own(),
    ownLabels: $("own-labels").files[0] ?? null,
    input_range: $("own-range").value,
    thresholds: ["pnet", "rnet", "onet"].map((id) => $(id).value).join(","),
    hide: hides(),
    cover: cover(),
    spared,
  };
}

// ---------------------------------------------------------------- photos

async function addPhotos(files) {
  const added = [...files].filter((file) => file instanceof Blob);
  if (!added.length) return;
  for (const file of added) {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
    photos.push({ file, bitmap });
  }
  showStrip();
  choose(photos.length - added.length);
}

function choose(index) {
  chosen = index;
  [...$("strip").querySelectorAll("button")].forEach((button, place) => button.setAttribute("aria-pressed", place === index));
  record = made = null;
  spared = [];
  current = -1;
  paint();
  ask();
}

function showStrip() {
  $("strip").hidden = photos.length < 2;
  $("strip").replaceChildren(...photos.map((photo, index) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const small = document.createElement("canvas");
    small.width = small.height = 112;
    if (photo.bitmap) {
      const side = Math.min(photo.bitmap.width, photo.bitmap.height);
      const left = (photo.bitmap.width - side) / 2;
      const top = (photo.bitmap.height - side) / 2;
      small.getContext("2d").drawImage(photo.bitmap, left, top, side, side, 0, 0, 112, 112);
    }
    button.type = "button";
    button.setAttribute("aria-label", `Photo ${index + 1}: ${photo.file.name || "pasted"}`);
    button.append(small);
    button.addEventListener("click", () => choose(index));
    item.append(button);
    return item;
  }));
}

function paint() {
  const photo = photos[chosen];
  if (!photo) return;
  $("figure").hidden = false;
  const moving = records.length > 1;
  $("canvas").hidden = moving || !photo.bitmap;
  $("moving").hidden = !moving;
  const size = record ? `${record.width} × ${record.height} pixels` : "";
  const unseen = photo.bitmap ? "" : `This browser cannot show this file${onDevice() ? "." : "; the service may still read it."}`;
  $("caption").textContent = [photo.file.name || "pasted photo", size, unseen].filter(Boolean).join(" · ");
  if (!moving && photo.bitmap) $("canvas").setAttribute("aria-label", draw($("canvas"), photo, false));
}

/** Draws the photo with what was found, and says what is to be seen. */
function draw(canvas, photo, full) {
  const words = photo.file.name || "The photo";
  drawPhoto(canvas, made?.bitmap ?? photo.bitmap, full);
  if (!record?.faces) return words;
  const { hide, landmarks, scores } = settings();
  if (hide) {
    const faces = record.faces.filter((face) => !isSpared(face));
    if (!made) hideFaces(canvas, { ...record, faces }, hide, coverPicture);
    return `${words}, with its faces hidden`;
  }
  if (!made) drawFaces(canvas, record, { landmarks, scores, current });
  return `${words}, with ${count(record.faces.length, "face")} boxed`;
}

// ---------------------------------------------------------------- asking

async function ask() {
  const photo = photos[chosen];
  showCommand();
  if (!photo) return;
  running?.abort();
  made = null;
  const mine = (running = new AbortController());
  const asked = settings();
  $("status").textContent = "Looking …";
  $("answer").setAttribute("aria-busy", "true");
  try {
    const answer = asked.device ? await device.ask(photo.file, asked, showProgress) : await service.ask(photo.file, asked, mine.signal);
    if (mine.signal.aborted) return;
    made = answer.made;
    show(answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    fail(error);
  } finally {
    if (running === mine) {
      $("answer").removeAttribute("aria-busy");
      $("progress").hidden = true;
    }
  }
}

function askSoon() {
  clearTimeout(timer);
  timer = setTimeout(ask, 250);
}

function showProgress({ loaded, total }) {
  const millions = (bytes) => (bytes / 1e6).toFixed(1);
  $("progress").hidden = loaded >= total;
  $("progress").max = total;
  $("progress").value = loaded;
  $("status").textContent = loaded < total ? `Loading the function and its models: ${millions(loaded)} of ${millions(total)} MB` : "Starting …";
}

/** Loads what the next photo will need, before it is there. */
async function prepare() {
  if (!onDevice() || photos.length) return;
  try {
    await device.prepare(settings(), showProgress);
    if (!photos.length) $("status").textContent = "Ready. Choose a photo to begin.";
  } catch (error) {
    fail(error);
  }
  $("progress").hidden = true;
}

// ---------------------------------------------------------------- showing the answer

const count = (number, word) => (number === 1 ? `1 ${word}` : `${number || "no"} ${word}s`);

/** `milliseconds`: of an answer of this device. */
function show({ answer, records: found, milliseconds }) {
  const broken = found.find((one) => one.error); // a frame; those before it are answered
  records = found.filter((one) => !one.error);
  $("problem").hidden = !broken;
  $("problem-text").textContent = broken?.error.message ?? "";
  $("json").textContent = JSON.stringify(answer, null, 2);
  $("frame-row").hidden = records.length < 2;
  $("frame").replaceChildren(...records.map((_, index) => new Option(`${index + 1} of ${records.length}`, index)));
  URL.revokeObjectURL($("moving").src);
  if (records.length > 1) $("moving").src = URL.createObjectURL(made?.blob ?? photos[chosen].file);
  $("save").hidden = !made && (records.length > 1 || !photos[chosen]?.bitmap);
  showFrame(0);
  if (milliseconds !== undefined) $("status").textContent += `, on this device in ${Math.round(milliseconds)} ms`;
}

function showFrame(index) {
  record = records[index];
  current = -1;
  const found = record.faces ? count(record.faces.length, "face") : count(record.predictions.length, "label");
  const unhidden = record.faces && hides() && !record.faces.length ? "; nothing is hidden" : "";
  const best = record.predictions?.[0];
  $("status").textContent = best ? `Most likely: ${best.label} (confidence ${best.confidence})` : `${found[0].toUpperCase()}${found.slice(1)} found${unhidden}`;
  showLists();
  paint();
}

function showLists() {
  const stress = (index) => { current = index; paint(); };
  showLabels(record.predictions);
  showFaces(record.faces, { stress, isSpared, spare: hides() && spare });
}

/** Leaves a face as it is, or hides it again. */
function spare({ box }) {
  const others = spared.filter((point) => !holds(box, point));
  spared = others.length < spared.length ? others : [...spared, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]];
  showCommand();
  if (onDevice()) repaint();
  else askSoon();
}

/** What is shown of an answer that is here. */
function repaint() {
  if (!record) return;
  showLists();
  paint();
}

function fail(error) {
  record = made = null;
  records = [];
  const texts = {
    image: `This file is not a photo that can be read. ${error.message}`,
    busy: `The service is busy. Try again in ${error.wait ?? "a few"} s.`,
    deadline: "This took too long. A smaller photo, or a larger smallest face, is faster.",
    body_too_large: "This file is too large for the service.",
    image_too_large: "This photo has too many pixels for the service.",
  };
  const code = { ImageError: "image", GuestTimeout: "deadline" }[error.name] ?? error.code;
  const away = !onDevice() && (error instanceof TypeError || error instanceof SyntaxError);
  const instead = hasDevice ? " Photos can be looked at on this device without it." : "";
  $("problem-text").textContent = texts[code] ?? (away ? `The service cannot be reached. Is it still running?${instead}` : error.message);
  $("problem").hidden = false;
  $("status").textContent = "No answer.";
  $("json").textContent = JSON.stringify({ error: { code: code ?? (away ? "unreachable" : error.name), message: error.message } }, null, 2);
  for (const id of ["labels", "faces-box", "save", "frame-row", "progress"]) $(id).hidden = true;
  paint();
}

function showCommand() {
  $("curl-box").hidden = onDevice();
  $("curl").textContent = onDevice() ? "" : service.command(photos[chosen]?.file.name || "photo.jpg", settings());
}

// ---------------------------------------------------------------- controls

function updateControls() {
  $("classify-controls").hidden = task() !== "classify";
  $("faces-controls").hidden = task() !== "faces";
  $("cover-row").hidden = $("hide").value !== "cover";
  $("spare-hint").hidden = !hides();
  for (const element of document.querySelectorAll(".of-service")) element.hidden = onDevice();
  $("promise").textContent = onDevice()
    ? "Photos stay on this device: nothing is uploaded."
    : "Photos stay on this service: nothing is kept, nothing goes to third parties.";
  for (const output of document.querySelectorAll("output")) {
    const input = $(output.htmlFor.value);
    const value = Number(input.value);
    output.textContent = (Number(input.step || 1) < 1 ? value.toFixed(2) : value) + (input.dataset.unit ?? "");
  }
}

async function loadModels() {
  const place = onDevice();
  const found = await (place ? device : service).models();
  if (place !== onDevice()) return; // switched meanwhile
  const before = $("model").value;
  $("model").replaceChildren(...found.map(({ name, title }) => new Option(title, name)));
  const usual = found.find(({ name }) => name === "efficientnet_lite0") ?? found[0];
  $("model").dataset.usual = usual?.name ?? "";
  $("model").value = found.some(({ name }) => name === before) ? before : $("model").dataset.usual;
  showCommand();
}

/** The picture to lay on faces. */
async function takeCover() {
  coverPicture = cover() && (await createImageBitmap(cover()).catch(() => null));
  updateControls();
  if (onDevice()) repaint();
  else askSoon();
}

/** The models of the other place, then the photo once more. */
async function switchPlace() {
  try {
    localStorage.setItem(KEPT, onDevice() ? "yes" : "no");
  } catch {
    // a browser that keeps nothing
  }
  updateControls();
  showCommand();
  record = made = null;
  records = [];
  try {
    await loadModels();
  } catch (error) {
    fail(error);
    return;
  }
  await (photos.length ? ask() : prepare());
}

$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("input", (event) => {
  updateControls();
  showCommand();
  const { id, name } = event.target;
  if (id === "device") switchPlace();
  else if (id === "cover") takeCover();
  else if (id === "hide" && onDevice()) repaint();
  else if (["landmarks", "scores"].includes(id) && records.length < 2) paint();
  else if (name === "task") { record = made = null; photos.length ? ask() : prepare(); }
  else askSoon();
});
$("model").addEventListener("change", () => { showCommand(); askSoon(); });
$("files").addEventListener("change", () => { addPhotos($("files").files); $("files").value = ""; });
$("frame").addEventListener("change", () => showFrame(Number($("frame").value)));
$("canvas").addEventListener("click", (event) => {
  if (!record?.faces || !hides()) return;
  const { left, top, width, height } = $("canvas").getBoundingClientRect();
  const point = [(event.clientX - left) / width * record.width, (event.clientY - top) / height * record.height];
  const face = record.faces.find(({ box }) => holds(box, point));
  if (face) spare(face);
});
$("again").addEventListener("click", () => (photos.length ? ask() : location.reload()));

for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") addPhotos(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => addPhotos(event.clipboardData.files));

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const words = button.textContent;
    const text = $(button.dataset.from).textContent;
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    if (!done) getSelection().selectAllChildren($(button.dataset.from));
    button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => { button.textContent = words; }, 1500);
  });
}

function save(blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${(photos[chosen].file.name || "photo").replace(/\.[^.]*$/, "")}-${hides() ? "hidden" : "boxes"}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

$("save").addEventListener("click", () => {
  if (made) {
    save(made.blob);
    return;
  }
  const picture = document.createElement("canvas");
  draw(picture, photos[chosen], true);
  picture.toBlob(save);
});

setUpCamera({ settings, take: (file) => addPhotos([file]), fail });

function begin() {
  let kept = null;
  try {
    kept = localStorage.getItem(KEPT);
  } catch {
    // a browser that keeps nothing
  }
  $("device").checked = hasDevice && (!hasService || kept === "yes");
  $("device-row").hidden = !(hasService && hasDevice);
  $("api").hidden = !hasService;
  // Faces need a third of what labels need: the page loads that by itself, and the rest when it is asked for.
  if (onDevice()) document.querySelector("input[value=faces]").checked = true;
  updateControls();
  showCommand();
  loadModels().then(prepare).catch(fail);
}
begin();
