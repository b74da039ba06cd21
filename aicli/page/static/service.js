// Answers of the service: the photo is uploaded, and not kept there.

const USUAL = { thresholds: "0.6,0.7,0.7", min_size: 20, factor: 0.709, top: 5, min_score: 0, input_range: "" };

/** The address to ask; with `how`, such as blur=true or cover, it is that of the picture with its faces hidden. */
export function address(settings, how = "") {
  const query = new URLSearchParams();
  const put = (name) => { if (String(settings[name]) !== String(USUAL[name])) query.set(name, settings[name]); };
  if (settings.task === "classify") {
    if (!settings.own && settings.model !== settings.usualModel) query.set("model", settings.model);
    ["top", "min_score"].forEach(put);
    if (settings.own) put("input_range");
  } else {
    ["thresholds", "min_size", "factor"].forEach(put);
    for (const name of ["turns", "border"]) if (settings[name]) query.set(name, "true");
    if (how.includes("=")) query.set(...how.split("="));
    if (how && settings.spared.length) {
      query.set("spare", settings.spared.map((point) => point.map((at) => at.toFixed(1))).join(";"));
    }
  }
  if (settings.all_frames) query.set("all_frames", "true");
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%3B", ";");
  return `v1/${settings.task}${text ? `?${text}` : ""}`;
}

/** A form of the photo and further files by the names of their parts, those that are there. */
function formOf(file, others) {
  const form = new FormData();
  form.append("photo", file, file.name || "photo.png");
  for (const [name, other] of Object.entries(others)) if (other) form.append(name, other);
  return form;
}

const failure = ({ code, message }, response) => Object.assign(new Error(message), { code, wait: response.headers.get("retry-after") });

/** A name as a header's value, of which fetch takes characters below 256 only: the bytes of its UTF-8, one each. */
function headerText(name) {
  return String.fromCharCode(...new TextEncoder().encode(name.slice(0, 200).replace(/\p{Cc}/gu, "_")));
}

/** What the service says of a photo, its records (one, or one for each frame), and the picture that it drew. */
export async function ask(file, settings, signal) {
  const name = headerText(file.name || "photo");
  const headers = settings.own ? {} : { "x-filename": name, "content-type": "application/octet-stream" };
  const body = settings.own ? formOf(file, { model: settings.own, labels: settings.ownLabels }) : file;
  const response = await fetch(address(settings), { method: "POST", headers, body, signal });
  const answer = await response.json();
  const failed = answer.error ?? answer.results?.[0]?.error;
  if (failed) throw failure(failed, response);
  const records = answer.results ?? [answer];
  const drawn = settings.hide || (records.length > 1 && settings.task === "faces");
  return { answer, records, made: drawn ? await pictureOf(file, settings, headers, signal) : null };
}

/** The photo as the service draws it: all its frames, and with faces hidden no pixel of them. */
async function pictureOf(file, settings, headers, signal) {
  const { hide, cover } = settings;
  const body = cover ? formOf(file, { cover }) : file;
  const accept = { ...(cover ? {} : headers), accept: "image/png" };
  const where = new URL(address(settings, hide), document.baseURI);
  for (const id of hide ? [] : ["landmarks", "scores"]) if (settings[id]) where.searchParams.set(id, "true");
  const response = await fetch(where, { method: "POST", headers: accept, body, signal });
  if (!response.ok) throw failure((await response.json()).error, response);
  const blob = await response.blob();
  return { blob, bitmap: await createImageBitmap(blob) };
}

export async function models() {
  const { models: all } = await (await fetch("v1/models")).json();
  const found = all.filter((model) => model.task === "classify");
  return found.map(({ name, uploaded }) => ({ name, title: name + (uploaded ? " (uploaded)" : "") }));
}

/** The command that asks the same. */
export function command(name, settings) {
  const { hide, cover, own, ownLabels } = settings;
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const others = cover ? { cover } : own ? { model: own, labels: ownLabels } : {};
  const files = Object.entries({ photo: { name }, ...others }).filter(([, file]) => file);
  const form = files.map(([field, file]) => `-F ${quote(`${field}=@${file.name}`)}`).join(" ");
  const what = files.length > 1 ? form : `--data-binary ${quote(`@${name}`)}`;
  const [accept, out] = hide ? ["-H 'Accept: image/png' ", " -o hidden.png"] : ["", ""];
  return `curl ${what} ${accept}${quote(new URL(address(settings, hide), document.baseURI).href)}${out}`;
}
