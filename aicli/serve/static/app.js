// The page: photos in, records out. Everything comes from this service; nothing is asked of anybody else.

import { drawFaces, drawPhoto } from "./draw.js";

const $ = (id) => document.getElementById(id);
const photos = []; // {file, bitmap}
let chosen = -1;
let record = null;
let hidden = null; // the picture with its faces hidden, where that is asked for
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
  record = hidden = null;
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
  $("canvas").hidden = !photo.bitmap;
  const size = record ? `${record.width} × ${record.height} pixels` : "";
  const unseen = photo.bitmap ? "" : "This browser cannot show this file; the service may still read it.";
  $("caption").textContent = [photo.file.name || "pasted photo", size, unseen].filter(Boolean).join(" · ");
  if (!photo.bitmap) return;
  drawPhoto($("canvas"), hidden ?? photo.bitmap);
  let words = photo.file.name || "The photo";
  if (hidden) {
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

const hides = () => (task() === "faces" ? $("hide").value : "");

/** The address to ask; with `how`, such as blur=true, it is that of the picture with its faces hidden. */
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
    if (how) query.set(...how.split("="));
  }
  const text = query.toString().replaceAll("%2C", ",");
  return `/v1/${task()}${text ? `?${text}` : ""}`;
}

function formOf(photo) {
  const form = new FormData();
  form.append("photo", photo.file, photo.file.name || "photo.png");
  form.append("model", own());
  if ($("own-labels").files[0]) form.append("labels", $("own-labels").files[0]);
  return form;
}

async function ask() {
  const photo = photos[chosen];
  showCommand();
  if (!photo) return;
  running?.abort();
  hidden = null;
  const mine = (running = new AbortController());
  $("status").textContent = "Looking …";
  $("answer").setAttribute("aria-busy", "true");
  try {
    const name = (photo.file.name || "photo").replace(/[^\x20-\x7e]/g, "_");
    const headers = own() ? {} : { "x-filename": name, "content-type": "application/octet-stream" };
    const body = own() ? formOf(photo) : photo.file;
    const response = await fetch(address(), { method: "POST", headers, body, signal: mine.signal });
    const answer = await response.json();
    const failed = answer.error ?? answer.results?.[0]?.error;
    if (failed) throw Object.assign(new Error(failed.message), { code: failed.code, wait: response.headers.get("retry-after") });
    const picture = hides() ? await hiddenPicture(headers, body, mine.signal) : null;
    hidden = picture;
    show(answer.results ? answer.results[0] : answer);
  } catch (error) {
    if (mine.signal.aborted) return;
    fail(error);
  } finally {
    if (running === mine) $("answer").removeAttribute("aria-busy");
  }
}

/** The photo as the service gives it with its faces hidden: no pixel of them comes back. */
async function hiddenPicture(headers, body, signal) {
  const accept = { ...headers, accept: "image/png" };
  const response = await fetch(address(hides()), { method: "POST", headers: accept, body, signal });
  if (response.ok) return createImageBitmap(await response.blob());
  const { error } = await response.json();
  throw Object.assign(new Error(error.message), { code: error.code, wait: response.headers.get("retry-after") });
}

function askSoon() {
  clearTimeout(timer);
  timer = setTimeout(ask, 250);
}

// ---------------------------------------------------------------- showing the answer

const count = (number, word) => (number === 1 ? `1 ${word}` : `${number || "no"} ${word}s`);

function show(answer) {
  record = answer;
  current = -1;
  $("problem").hidden = true;
  $("json").textContent = JSON.stringify(answer, null, 2);
  const found = answer.faces ? count(answer.faces.length, "face") : count(answer.predictions.length, "label");
  const best = answer.predictions?.[0];
  $("status").textContent = best ? `Most likely: ${best.label} (confidence ${best.confidence})` : `${found[0].toUpperCase()}${found.slice(1)} found`;
  showLabels(answer.predictions);
  showFaces(answer.faces);
  $("save").hidden = !photos[chosen]?.bitmap;
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
  $("faces").tBodies[0].replaceChildren(...(faces ?? []).map((face, index) => {
    const row = document.createElement("tr");
    row.append(part("td", index + 1), part("td", face.score.toFixed(3)), part("td", face.box.map(Math.round).join(", ")));
    row.addEventListener("mouseenter", () => { current = index; paint(); });
    row.addEventListener("mouseleave", () => { current = -1; paint(); });
    return row;
  }));
}

function part(tag, text, name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = name;
  return element;
}

function fail(error) {
  record = hidden = null;
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
  for (const id of ["labels", "faces-box", "save"]) $(id).hidden = true;
  paint();
}

function showCommand() {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const name = photos[chosen]?.file.name || "photo.jpg";
  const files = [["photo", name], ["model", own()?.name], ["labels", $("own-labels").files[0]?.name]];
  const form = files.filter(([, file]) => file).map(([field, file]) => `-F ${quote(`${field}=@${file}`)}`).join(" ");
  const what = own() ? form : `--data-binary ${quote(`@${name}`)}`;
  const [accept, out] = hides() ? ["-H 'Accept: image/png' ", " -o hidden.png"] : ["", ""];
  $("curl").textContent = `curl ${what} ${accept}${quote(location.origin + address(hides()))}${out}`;
}

// ---------------------------------------------------------------- controls

function updateControls() {
  $("classify-controls").hidden = task() !== "classify";
  $("faces-controls").hidden = task() !== "faces";
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
  if (["landmarks", "scores"].includes(event.target.id)) paint();
  else if (event.target.name === "task") { record = hidden = null; ask(); }
  else askSoon();
});
$("model").addEventListener("change", () => { showCommand(); askSoon(); });
$("files").addEventListener("change", () => { addPhotos($("files").files); $("files").value = ""; });
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

$("save").addEventListener("click", () => $("canvas").toBlob((blob) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${(photos[chosen].file.name || "photo").replace(/\.[^.]*$/, "")}-${hidden ? "hidden" : "boxes"}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}));

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
