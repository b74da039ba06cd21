// Answers on this device: the photo stays in the browser.

const PATIENCE = 3000; // ms that the service worker may take before the page goes on without it
const SMALLEST_PART = 10; // of a live picture's shorter side: the smallest face there

let library = null;
let detector = null;
let classifier = null; // {key, loading}

/** The package, once what it fetches is kept for when there is no network. */
function loadLibrary() {
  library ??= keepOffline().then(() => import("../aicli/index.js"));
  return library;
}

/** Plain http: gives no service worker but on this machine; then the page needs its network. */
async function keepOffline() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  const taken = serviceWorker.controller ?? new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
  const registered = serviceWorker.register("sw.js").then(() => taken).catch(() => {});
  await Promise.race([registered, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
}

function loadDetector(report) {
  detector ??= loadLibrary()
    .then(({ FaceDetector }) => FaceDetector.load({ onProgress: report }))
    .catch((error) => {
      detector = null;
      throw error;
    });
  return detector;
}

/** One classifier at a time: another model, or another file of one's own, takes its place. */
async function loadClassifier({ model, own, ownLabels, input_range: range }, report) {
  const key = [own ?? model, ownLabels, range];
  if (!classifier || classifier.key.some((part, place) => part !== key[place])) {
    const former = classifier?.loading;
    const options = own ? { model: own, labels: ownLabels, inputRange: range ? range.split(",").map(Number) : undefined } : { model };
    const loading = loadLibrary().then(({ Classifier }) => Classifier.load({ ...options, onProgress: report }));
    classifier = { key, loading };
    former?.then((old) => old.close()).catch(() => {});
  }
  try {
    return await classifier.loading;
  } catch (error) {
    classifier = null;
    throw error;
  }
}

/** Loads what these settings need; `report` is called with the bytes that have come, of all. */
export function prepare(settings, report) {
  return settings.task === "faces" ? loadDetector(report) : loadClassifier(settings, report);
}

/** As `ask` of the service, and what it took. */
export async function ask(file, settings, report) {
  const task = await prepare(settings, report);
  const begun = performance.now();
  const name = file.name || "photo";
  const record = settings.task === "faces"
    ? await task.detect(file, { name, ...faceOptions(settings) })
    : await task.classify(file, { name, topK: Number(settings.top), minScore: Number(settings.min_score) });
  return { answer: record, records: [record], made: null, milliseconds: performance.now() - begun };
}

/** The record of what the video shows now. */
export async function askLive(video, settings, report) {
  const task = await prepare(settings, report);
  if (settings.task === "classify") return task.classify(video, { topK: 1 });
  const options = faceOptions(settings);
  const smallest = Math.round(Math.min(video.videoWidth, video.videoHeight) / SMALLEST_PART);
  return task.detect(video, { ...options, minSize: Math.max(options.minSize, smallest) });
}

const faceOptions = ({ thresholds, min_size: minSize, factor, turns, border }) => ({
  thresholds: thresholds.split(",").map(Number), minSize: Number(minSize), factor: Number(factor), turns, border,
});

export async function models() {
  const all = await (await loadLibrary()).listModels();
  return all.filter(({ task }) => task === "classify").map(({ name }) => ({ name, title: name }));
}
