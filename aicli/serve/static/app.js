// The page: photos in, records out. Everything comes from this service; nothing is asked of anybody else.

import { drawFaces, drawPhoto } from "./draw.js";

const $ = (id) => document.getElementById(id);
const photos = []; // {file, bitmap}
let chosen = -1;
let records = []; // one, or one for each frame
let record = null; // the one that is shown
let made = null; // {blob, bitmap}: the picture that the service made, with faces hidden or of all frames
let spared = []; // [x, y] in pixels of the photo: faces there are left as they are
let current = -1;
let running = null;
let timer = 0;

const task = () => document.querySelector("input[name=task]:checked").value;
const own = () => task() === "classify" && $("own-model").files[0];

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
  const unseen = photo.bitmap ? "" : "This browser cannot show this file; the service may still read it.";
  $("caption").textContent = [photo.file.name || "pasted photo", size, unseen].filter(Boolean).join(" · ");
  if (moving || !photo.bitmap) return;
  drawPhoto($("canvas"), made?.bitmap ?? photo.bitmap);
  let words = photo.file.name || "The photo";
  if (made) {
    $("canvas").setAttribute("aria-label", `${words}, with its faces hidden`);
    return;
  }
  if (record?.faces) {
    drawFaces($("canvas"), record, { landmarks: $("landmarks").checked, scores: $("scores").checked, current });
    words += `, with ${count(record.faces.length, "face")} boxed`;
  }
  $("canvas").setAttribute("aria-label", words);
}

// ---------------------------------------------------------------- asking the service

const cover = () => $("hide").value === "cover" && $("cover").files[0];
const hides = () => (task() !== "faces" || ($("hide").value === "cover" && !cover()) ? "" : $("hide").value);
const holds = ([x1, y1, x2, y2], [x, y]) => x1 <= x && x <= x2 && y1 <= y && y <= y2;

/** The address to ask; with `how`, such as blur=true or cover, it is that of the picture with its faces hidden. */
function address(how = "") {
  const query = new URLSearchParams();
  const put = (name, value, usual) => { if (String(value) !== String(usual)) query.set(name, value); };
  if (task() === "classify") {
    if (!own()) put("model", $("model").value, $("model").dataset.usual);
    put("top", $("top").value, 5);
    put("min_score", $("min_score").value, 0);
  } else {
    put("thresholds", ["pnet", "rnet", "onet"].map((id) => $(id).value).join(","), "0.6,0.7,0.7");
    put("min_size", $("min_size").value, 20);
    put("factor", $("factor").value, 0.709);
    for (const id of ["turns", "border"]) if ($(id).checked) query.set(id, "true");
    if (how.includes("=")) query.set(...how.split("="));
    if (how && spared.length) query.set("spare", spared.map((point) => point.map((at) => at.toFixed(1))).join(";"));
  }
  if ($("all_frames").checked) query.set("all_frames", "true");
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3B", ";");
  return `/v1/${task()}${text ? `?${text}` : ""}`;
}

/** A form of the photo and further files by the names of their parts, those that are there. */
function formOf(photo, others) {
  const form = new FormData();
  form.append("photo", photo.file, photo.file.name || "photo.png");
  for (const [name, file] of Object.entries(others)) if (file) form.append(name, file);
  return form;
}

async function ask() {
  const photo = photos[chosen];
  showCommand();
  if (!photo) return;
  running?.abort();
  made = null;
  const mine = (running = new AbortController());
  $("status").textContent = "Looking …";
  $("answer").setAttribute("aria-busy", "true");
  try {
    const name = (photo.file.name || "photo").replace(/[^\x20-\x7e]/g, "_");
    const headers = own() ? {} : { "x-filename": name, "content-type": "application/octet-stream" };
    const body = own() ? formOf(photo, { model: own(), labels: $("own-labels").files[0] }) : photo.file;
    const response = await fetch(address(), { method: "POST", headers, body, signal: mine.signal });
    const answer = await response.json();
    const failed = answer.error ?? answer.results?.[0]?.error;
    if (failed) throw Object.assign(new Error(failed.message), { code: failed.code, wait: response.headers.get("retry-after") });
    const found = answer.results ?? [answer];
    const drawn = hides() || (found.length > 1 && task() === "faces");
    const picture = drawn ? await pictureOf(photo, headers, mine.signal) : null;
    if (mine.signal.aborted) return;
    made = picture;
    show(answer, found);
  } catch (error) {
    if (mine.signal.aborted) return;
    fail(error);
  } finally {
    if (running === mine) $("answer").removeAttribute("aria-busy");
  }
}

/** The photo as the service draws it: all its frames, and with faces hidden no pixel of them. */
async function pictureOf(photo, headers, signal) {
  const body = cover() ? formOf(photo, { cover: cover() }) : photo.file;
  const accept = { ...(cover() ? {} : headers), accept: "image/png" };
  const where = new URL(address(hides()), location.origin);
  for (const id of hides() ? [] : ["landmarks", "scores"]) if ($(id).checked) where.searchParams.set(id, "true");
  const response = await fetch(where, { method: "POST", headers: accept, body, signal });
  if (response.ok) {
    const blob = await response.blob();
    return { blob, bitmap: await createImageBitmap(blob) };
  }
  const { error } = await response.json();
  throw Object.assign(new Error(error.message), { code: error.code, wait: response.headers.get("retry-after") });
}

function askSoon() {
  clearTimeout(timer);
  timer = setTimeout(ask, 250);
}

// ---------------------------------------------------------------- showing the answer

const count = (number, word) => (number === 1 ? `1 ${word}` : `${number || "no"} ${word}s`);

function show(answer, found) {
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
}

function showFrame(index) {
  record = records[index];
  current = -1;
  const found = record.faces ? count(record.faces.length, "face") : count(record.predictions.length, "label");
  const unhidden = record.faces && hides() && !record.faces.length ? "; nothing is hidden" : "";
  const best = record.predictions?.[0];
  $("status").textContent = best ? `Most likely: ${best.label} (confidence ${best.confidence})` : `${found[0].toUpperCase()}${found.slice(1)} found${unhidden}`;
  showLabels(record.predictions);
  showFaces(record.faces);
  paint();
}

function showLabels(predictions) {
  $("labels").hidden = !predictions?.length;
  $("labels").replaceChildren(...(predictions ?? []).map((prediction) => {
    const item = document.createElement("li");
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.width = `${100 * prediction.score}%`;
    item.append(bar, part("span", prediction.label, "name"), part("span", `${(100 * prediction.score).toFixed(1)} %`, "score"));
    return item;
  }));
}

function showFaces(faces) {
  $("faces-box").hidden = !faces?.length;
  $("spare-head").hidden = !hides();
  $("faces").tBodies[0].replaceChildren(...(faces ?? []).map((face, index) => {
    const row = document.createElement("tr");
    row.append(part("td", index + 1), part("td", face.score.toFixed(3)), part("td", face.box.map(Math.round).join(", ")));
    row.addEventListener("mouseenter", () => { current = index; paint(); });
    row.addEventListener("mouseleave", () => { current = -1; paint(); });
    if (hides()) row.append(spareBox(face, index));
    return row;
  }));
}

function spareBox(face, index) {
  const [cell, box] = ["td", "input"].map((tag) => document.createElement(tag));
  box.type = "checkbox";
  box.setAttribute("aria-label", `Leave face ${index + 1} as it is`);
  box.checked = spared.some((point) => holds(face.box, point));
  box.addEventListener("change", () => spare(face));
  cell.append(box);
  return cell;
}

/** Leaves a face as it is, or hides it again. */
function spare({ box }) {
  const others = spared.filter((point) => !holds(box, point));
  spared = others.length < spared.length ? others : [...spared, [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]];
  showCommand();
  askSoon();
}

function part(tag, text, name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = name;
  return element;
}

function fail(error) {
  record = made = null;
  const texts = {
    image: `This file is not a photo that can be read. ${error.message}`,
    busy: `The service is busy. Try again in ${error.wait ?? "a few"} s.`,
    deadline: "This took too long. A smaller photo, or a larger smallest face, is faster.",
    body_too_large: "This file is too large for the service.",
    image_too_large: "This photo has too many pixels for the service.",
  };
  const offline = error instanceof TypeError || error instanceof SyntaxError;
  $("problem-text").textContent = texts[error.code] ?? (offline ? "The service cannot be reached. Is it still running?" : error.message);
  $("problem").hidden = false;
  $("status").textContent = "No answer.";
  $("json").textContent = JSON.stringify({ error: { code: error.code ?? "unreachable", message: error.message } }, null, 2);
  for (const id of ["labels", "faces-box", "save", "frame-row"]) $(id).hidden = true;
  records = [];
  paint();
}

function showCommand() {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = photos[chosen]?.file.name || "photo.jpg";
  const others = cover() ? { cover: cover() } : own() ? { model: own(), labels: $("own-labels").files[0] } : {};
  const files = Object.entries({ photo: { name }, ...others }).filter(([, file]) => file);
  const form = files.map(([field, file]) => `-F ${quote(`${field}=@${file.name}`)}`).join(" ");
  const what = files.length > 1 ? form : `--data-binary ${quote(`@${name}`)}`;
  const [accept, out] = hides() ? ["-H 'Accept: image/png' ", " -o hidden.png"] : ["", ""];
  $("curl").textContent = `curl ${what} ${accept}${quote(location.origin + address(hides()))}${out}`;
}

// ---------------------------------------------------------------- controls

function updateControls() {
  $("classify-controls").hidden = task() !== "classify";
  $("faces-controls").hidden = task() !== "faces";
  $("cover-row").hidden = $("hide").value !== "cover";
  $("spare-hint").hidden = !hides();
  for (const output of document.querySelectorAll("output")) {
    const input = $(output.htmlFor.value);
    const value = Number(input.value);
    output.textContent = (Number(input.step || 1) < 1 ? value.toFixed(2) : value) + (input.dataset.unit ?? "");
  }
}

async function loadModels() {
  const { models } = await (await fetch("/v1/models")).json();
  const usable = models.filter((model) => model.task === "classify");
  $("model").replaceChildren(...usable.map((model) => new Option(model.name + (model.uploaded ? " (uploaded)" : ""), model.name)));
  const usual = usable.find((model) => model.name === "efficientnet_lite0") ?? usable[0];
  $("model").value = $("model").dataset.usual = usual?.name ?? "";
  showCommand();
}

$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("input", (event) => {
  updateControls();
  showCommand();
  if (["landmarks", "scores"].includes(event.target.id) && records.length < 2) paint();
  else if (event.target.name === "task") { record = made = null; ask(); }
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
$("again").addEventListener("click", ask);

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

$("save").addEventListener("click", () => (made ? save(made.blob) : $("canvas").toBlob(save)));

// ---------------------------------------------------------------- camera

const stopCamera = () => $("video").srcObject?.getTracks().forEach((track) => track.stop());

$("camera").hidden = !navigator.mediaDevices?.getUserMedia;
$("camera").addEventListener("click", async () => {
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    $("camera-box").showModal();
  } catch {
    fail(new Error("The camera cannot be used: there is none, or the browser was not allowed to."));
  }
});
$("shoot").addEventListener("click", () => {
  const frame = document.createElement("canvas");
  frame.width = $("video").videoWidth;
  frame.height = $("video").videoHeight;
  frame.getContext("2d").drawImage($("video"), 0, 0);
  frame.toBlob((blob) => blob && addPhotos([new File([blob], "camera.jpg", { type: "image/jpeg" })]), "image/jpeg", 0.92);
  $("camera-box").close();
});
$("camera-close").addEventListener("click", () => $("camera-box").close());
$("camera-box").addEventListener("close", stopCamera);

updateControls();
showCommand();
loadModels().catch(fail);
