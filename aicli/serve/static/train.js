// The page that trains: photos dropped into named boxes, a classifier out of them.

const $ = (id) => document.getElementById(id);
const SIDE = 512; // pixels of the shorter side: more than twice what the networks look at
const SMALL = 150_000; // bytes below which a file is sent as it is
const boxes = []; // {name: input, photos: [File], element}
let limits = { photos: Infinity, classes: Infinity, bytes: Infinity };
let run = null; // the training under way or done
let model = null; // its file
let stopped = false;

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------- boxes

function addBox(name = "") {
  const number = boxes.length + 1;
  const input = make("input", { type: "text", value: name, maxLength: 200, placeholder: number === 1 ? "wren" : "robin" });
  input.setAttribute("aria-label", `Name of class ${number}`);
  const files = make("input", { type: "file", multiple: true, accept: "image/*,.heic,.avif,.tif,.tiff" });
  const box = { name: input, photos: [], count: make("p", { className: "quiet" }), strip: make("ul", { className: "strip" }) };
  const remove = make("button", { type: "button", textContent: "Remove" });
  const choose = make("label", { className: "button" }, "Choose photos", files);
  box.element = make("div", { className: "drop box" }, input, make("p", {}, choose, remove), box.count, box.strip);
  input.addEventListener("input", update);
  files.addEventListener("change", () => { addPhotos(box, [...files.files]); files.value = ""; });
  remove.addEventListener("click", () => { boxes.splice(boxes.indexOf(box), 1); box.element.remove(); update(); });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    box.element.addEventListener(kind, (event) => {
      event.preventDefault();
      box.element.classList.toggle("over", kind === "dragover");
      if (kind === "drop") { event.stopPropagation(); dropInto(event.dataTransfer, box); }
    });
  }
  boxes.push(box);
  $("boxes").append(box.element);
  update();
  return box;
}

function addPhotos(box, files) {
  const known = new Set(box.photos.map((file) => `${file.name} ${file.size} ${file.lastModified}`));
  box.photos.push(...files.filter((file) => !known.has(`${file.name} ${file.size} ${file.lastModified}`)));
  showStrip(box);
  update();
}

function showStrip(box) {
  for (const old of box.strip.querySelectorAll("img")) URL.revokeObjectURL(old.src);
  box.strip.replaceChildren(...box.photos.map((file) => {
    const picture = make("img", { src: URL.createObjectURL(file), alt: "", loading: "lazy" });
    const button = make("button", { type: "button", title: `Take ${file.name} out` }, picture);
    button.setAttribute("aria-label", `Take ${file.name} out`);
    button.addEventListener("click", () => { box.photos.splice(box.photos.indexOf(file), 1); showStrip(box); update(); });
    return make("li", {}, button);
  }));
}

/** What was dropped: photos go into the box, or into the first empty one; folders become boxes. */
async function dropInto(transfer, box = null) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const loose = [...transfer.files].filter((file, place) => !entries[place]?.isDirectory);
  const folders = entries.filter((entry) => entry.isDirectory);
  if (loose.length) addPhotos(box ?? boxes.find((other) => !other.photos.length) ?? addBox(), loose);
  for (const folder of folders) {
    const inside = await listFolder(folder);
    const below = inside.filter((entry) => entry.isDirectory);
    // A folder of folders holds the classes; any other is one.
    for (const found of below.length && !box ? below : [folder]) {
      const target = box ?? boxes.find((other) => other.name.value.trim() === found.name) ?? boxes.find((other) => !other.photos.length && !other.name.value.trim()) ?? addBox();
      if (!target.name.value.trim()) target.name.value = found.name;
      addPhotos(target, await filesBelow(found));
    }
  }
}

async function listFolder(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found.filter((entry) => !entry.name.startsWith("."));
    found.push(...some);
  }
}

async function filesBelow(folder) {
  const files = [];
  for (const entry of await listFolder(folder)) {
    if (entry.isDirectory) files.push(...await filesBelow(entry));
    else files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  }
  return files;
}

/** The boxes that have photos, by their names; two of one name are one class. */
function classes() {
  const found = new Map();
  for (const box of boxes) {
    const name = box.name.value.trim();
    if (box.photos.length) found.set(name, [...(found.get(name) ?? []), ...box.photos]);
  }
  return found;
}

function missing(found) {
  const total = [...found.values()].reduce((sum, photos) => sum + photos.length, 0);
  if (found.has("")) return "A box with photos has no name.";
  if (found.size < 2) return "Two named boxes with two photos each are needed.";
  const lonely = [...found].find(([, photos]) => photos.length < 2);
  if (lonely) return `"${lonely[0]}" has one photo; at least two are needed.`;
  if (found.size > limits.classes) return `These are ${found.size} classes; this service takes at most ${limits.classes}.`;
  if (total > limits.photos) return `These are ${total} photos; this service takes at most ${limits.photos}.`;
  return "";
}

function update() {
  for (const box of boxes) box.count.textContent = box.photos.length === 1 ? "1 photo" : `${box.photos.length || "no"} photos`;
  const found = classes();
  const lacking = missing(found);
  const running = run?.state === "running";
  $("train").disabled = Boolean(lacking) || running;
  if (!running) $("status").textContent = lacking || "Ready to train.";
  showCommand(found);
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const address = () => {
  const query = new URLSearchParams();
  if ($("augment").checked) query.set("augment", "true");
  if ($("base").value && $("base").value !== $("base").dataset.usual) query.set("base", $("base").value);
  return `/v1/train${query.size ? `?${query}` : ""}`;
};

function showCommand(found) {
  const parts = [...found].flatMap(([name, photos]) => photos.slice(0, 2).map((file) => `-F ${quote(`${name}=@${file.name}`)}`));
  const token = $("token").value ? '-H "Authorization: Bearer $TOKEN" ' : "";
  $("curl").textContent = `curl ${token}${parts.join(" ") || "-F wren=@a.jpg -F robin=@b.jpg"} ... ${quote(location.origin + address())}\n`
    + `curl ${token}${location.origin}/v1/train/ID\ncurl ${token}${location.origin}/v1/train/ID/model -o own.tflite`;
}

// ---------------------------------------------------------------- training

const headers = () => ($("token").value ? { authorization: `Bearer ${$("token").value}` } : {});

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  if (response.ok) return response;
  const { error } = await response.json();
  throw Object.assign(new Error(error.message), { code: error.code, wait: response.headers.get("retry-after") });
}

/** The photo as it is sent: no larger than is of use. What this browser cannot read goes as it is. */
async function shrunk(file) {
  if (file.size <= SMALL) return file;
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  const scale = bitmap && SIDE / Math.min(bitmap.width, bitmap.height);
  if (!bitmap || scale >= 1) return file;
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

async function formOf(found) {
  const form = new FormData();
  const total = [...found.values()].reduce((sum, photos) => sum + photos.length, 0);
  let done = 0;
  let bytes = 0;
  for (const [name, photos] of found) {
    for (const file of photos) {
      if (stopped) return form;
      const sent = await shrunk(file);
      form.append(name, sent, file.name);
      bytes += sent.size;
      done += 1;
      progress(done / total, `Preparing photo ${done} of ${total} …`);
    }
  }
  if (bytes > limits.bytes) throw new Error(`These photos are ${Math.ceil(bytes / 2 ** 20)} MiB; this service takes at most ${Math.floor(limits.bytes / 2 ** 20)} MiB.`);
  return form;
}

function progress(share, text) {
  $("progress").hidden = share === null;
  if (share === undefined) $("progress").removeAttribute("value");
  else if (share !== null) $("progress").value = share;
  $("status").textContent = text;
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function train() {
  const found = classes();
  run = { state: "running" };
  model = null;
  stopped = false;
  $("problem").hidden = $("outcome").hidden = true;
  $("stop").hidden = false;
  update();
  try {
    const form = await formOf(found);
    if (!stopped) {
      progress(undefined, "Sending the photos …");
      run = await (await ask(address(), { method: "POST", body: form })).json();
    }
    while (run.state === "running" && !stopped) {
      const { done, total } = run.photos;
      if (done < total) progress(done / total, `Looking at photo ${done + 1} of ${total} …`);
      else progress(undefined, "Fitting the last layer …");
      await pause(500);
      run = await (await ask(`/v1/train/${run.id}`)).json();
    }
    if (stopped) {
      if (run.id) await ask(`/v1/train/${run.id}`, { method: "DELETE" });
      run = { state: "stopped" };
    } else if (run.error) {
      throw Object.assign(new Error(run.error.message), { code: run.error.code });
    } else {
      progress(undefined, "Fetching the model …");
      model = await (await ask(`/v1/train/${run.id}/model`)).blob();
      show(run.training);
    }
    progress(null, stopped ? "Stopped." : "Trained.");
  } catch (error) {
    run = { state: "failed" };
    fail(error);
  } finally {
    $("stop").hidden = true;
    $("train").disabled = Boolean(missing(classes()));
  }
}

function fail(error) {
  const texts = {
    busy: `Another training is under way. Try again in ${error.wait ?? "some"} s.`,
    token: "The service needs its token for this: give it below.",
    no_token: "The service was started without a token, so that nothing can be kept, and nothing trained from elsewhere.",
  };
  const offline = error instanceof TypeError;
  if (error.code === "token") $("token-box").open = true;
  $("problem-text").textContent = texts[error.code] ?? (offline ? "The service cannot be reached. Is it still running?" : error.message);
  $("problem").hidden = false;
  progress(null, "Not trained.");
}

// ---------------------------------------------------------------- the outcome

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function show(training) {
  const { value, low, high } = training.accuracy;
  const photos = Object.values(training.trained_on).reduce((sum, count) => sum + count, 0);
  const right = Math.round(value * training.photos);
  $("accuracy").textContent = `${percent(value)} right`;
  $("explained").textContent = `${right} of ${training.photos} photos were named rightly, each by a fit that had not seen it. `
    + `New photos of the same kind should give between ${percent(low)} and ${percent(high)}. `
    + `${training.labels.length} classes from ${photos} photos.`;
  const remarks = [...training.notes, ...training.failures.map((failure) => failure.error)];
  $("notes").replaceChildren(...remarks.map((text) => make("li", { textContent: text })));
  $("report").href = `/v1/train/${run.id}/report`;
  $("report").hidden = Boolean($("token").value); // a link carries no token
  for (const id of ["tried", "kept"]) $(id).textContent = id === "tried" ? "or drop one into this part." : "";
  $("labels").hidden = true;
  $("outcome").hidden = false;
  $("outcome").focus();
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

const modelName = () => $("name").value.trim() || "own";

async function tryPhoto(file) {
  if (!model) return;
  const form = new FormData();
  form.append("photo", file, file.name || "photo.png");
  form.append("model", model, "own.tflite");
  $("tried").textContent = "Looking …";
  try {
    const { results: [record] } = await (await ask("/v1/classify", { method: "POST", body: form })).json();
    if (record.error) throw new Error(record.error.message);
    $("tried").textContent = `${file.name}: ${record.predictions[0].label}`;
    $("labels").hidden = false;
    $("labels").replaceChildren(...record.predictions.map(({ label, score }) => {
      const bar = make("span", { className: "bar" });
      bar.style.width = percent(score).replace(" ", "");
      return make("li", {}, bar, make("span", { className: "name", textContent: label }), make("span", { className: "score", textContent: percent(score) }));
    }));
  } catch (error) {
    $("labels").hidden = true;
    $("tried").textContent = error.message;
  }
}

async function keep() {
  $("kept").textContent = "Keeping …";
  try {
    const name = modelName();
    await ask(`/v1/models/${encodeURIComponent(name)}`, { method: "PUT", body: model, headers: { "content-type": "application/octet-stream" } });
    $("kept").textContent = `Kept as ${name}: ${location.origin}/v1/classify?model=${name}`;
  } catch (error) {
    if (error.code === "token") $("token-box").open = true;
    $("kept").textContent = error.message;
  }
}

$("add").addEventListener("click", () => addBox().name.focus());
$("train").addEventListener("click", train);
$("stop").addEventListener("click", () => { stopped = true; progress(undefined, "Stopping …"); });
$("save").addEventListener("click", () => save(model, `${modelName()}.tflite`));
$("save-report").addEventListener("click", async () => {
  try {
    save(await (await ask(`/v1/train/${run.id}/report`)).blob(), `${modelName()}.html`);
  } catch (error) {
    $("kept").textContent = error.message;
  }
});
$("keep").addEventListener("click", keep);
$("try").addEventListener("change", () => { if ($("try").files[0]) tryPhoto($("try").files[0]); $("try").value = ""; });
for (const id of ["augment", "base", "token"]) $(id).addEventListener("input", update);
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    if (kind !== "drop") return;
    if (event.target.closest?.("#outcome")) tryPhoto(event.dataTransfer.files[0]);
    else dropInto(event.dataTransfer);
  });
}
addEventListener("pagehide", () => {
  if (run?.state === "running" && run.id) fetch(`/v1/train/${run.id}`, { method: "DELETE", keepalive: true, headers: headers() });
});

addBox();
addBox();
const [allowed, { models }] = await Promise.all(["/v1/train", "/v1/models"].map(async (path) => (await fetch(path)).json()));
if (allowed.enabled) limits = allowed;
const usable = models.filter((item) => item.task === "classify" && !item.uploaded);
$("base").replaceChildren(...usable.map((item) => new Option(item.name, item.name)));
$("base").value = $("base").dataset.usual = usable.find((item) => item.name === "efficientnet_lite0")?.name ?? usable[0]?.name ?? "";
update();
