// One measured package in a process of its own: node subject.cjs NAME THREADS PEERS. It says what it answers to the photos
// on its first line; then, for every line CASE COUNT, the milliseconds of so many calls, from the file to the answer.
const { createServer } = require("node:http");
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { dirname, join } = require("node:path");
const { createInterface } = require("node:readline");

const PROJECT = join(__dirname, "..", "..");
const [name, threads, peers] = process.argv.slice(2);
const PHOTOS = JSON.parse(process.env.PHOTOS);
const sharp = createRequire(join(PROJECT, "js", "package.json"))("sharp");
const peer = createRequire(join(peers ?? PROJECT, "package.json"));
const packages = join(peers ?? PROJECT, "node_modules");

async function pixels(path) {
  const { data, info } = await sharp(path).autoOrient().flatten({ background: "#fff" }).toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

/** Runs `use` with the photo as a tensor of a tfjs. */
async function withTensor(tf, path, use) {
  const { data, width, height } = await pixels(path);
  const tensor = tf.tensor3d(new Uint8Array(data), [height, width, 3], "int32");
  try {
    return await use(tensor);
  } finally {
    tensor.dispose();
  }
}

const corners = ({ x, y, width, height }) => [x, y, x + width, y + height];

async function aicli(engine) {
  const { Classifier, FaceDetector } = require(join(PROJECT, "js"));
  const options = { engine, threads: Number(threads) };
  const [classifier, detector] = [await Classifier.load({ ...options, topK: 5 }), await FaceDetector.load(options)];
  const faces = async (path) => (await detector.detect(path)).faces.map(({ box }) => box);
  return { said: detector.engine, labels: async (path) => (await classifier.classify(path)).predictions[0].label, face: faces, group: faces };
}

async function backend(tf, wanted) {
  const wasm = peer("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(join(packages, "@tensorflow", "tfjs-backend-wasm", "dist") + "/");
  tf.enableProdMode();
  await tf.setBackend(wanted);
  await tf.ready();
  return tf.getBackend();
}

async function faceApi(net, options) {
  const faceapi = peer("@vladmandic/face-api/dist/face-api.node-wasm.js");
  const said = await backend(faceapi.tf, "wasm");
  await faceapi.nets[net].loadFromDisk(join(packages, "@vladmandic", "face-api", "model"));
  const faces = (path) =>
    withTensor(faceapi.tf, path, async (tensor) => (await faceapi.detectAllFaces(tensor, options(faceapi))).map(({ box }) => corners(box)));
  return { said: `tfjs ${said}`, face: faces, group: faces };
}

async function human() {
  // Its models come by fetch, which reads no files in Node.js.
  const models = join(packages, "@vladmandic", "human", "models");
  const server = createServer((request, response) => response.end(readFileSync(join(models, request.url))));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const off = { enabled: false };
  const { Human } = peer(join(packages, "@vladmandic", "human", "dist", "human.node-wasm.js"));
  const found = new Human({
    backend: "wasm", wasmPath: join(packages, "@tensorflow", "tfjs-backend-wasm", "dist") + "/", modelBasePath: `http://127.0.0.1:${server.address().port}/`,
    debug: false, cacheSensitivity: 0, filter: off, body: off, hand: off, object: off, gesture: off,
    face: { enabled: true, detector: { rotation: false, maxDetected: 100 }, mesh: off, iris: off, description: off, emotion: off },
  });
  await found.load();
  server.close();
  const faces = (path) =>
    withTensor(found.tf, path, async (tensor) => {
      const { face } = await found.detect(tensor);
      return face.map(({ box: [x, y, width, height] }) => corners({ x, y, width, height }));
    });
  return { said: `tfjs ${found.tf.getBackend()}`, face: faces, group: faces };
}

async function nsfw(wanted) {
  const tf = peer("@tensorflow/tfjs");
  const said = await backend(tf, wanted);
  console.info = console.log = () => {};
  const model = await peer("nsfwjs").load("MobileNetV2");
  return { said: `tfjs ${said}`, labels: (path) => withTensor(tf, path, async (tensor) => (await model.classify(tensor))[0].className) };
}

const SUBJECTS = {
  native: () => aicli("native"),
  wasm: () => aicli("wasm"),
  "face-api-ssd": () => faceApi("ssdMobilenetv1", (api) => new api.SsdMobilenetv1Options({ maxResults: 100 })),
  "face-api-tiny": () => faceApi("tinyFaceDetector", (api) => new api.TinyFaceDetectorOptions({ inputSize: 608 })),
  human,
  "nsfwjs-wasm": () => nsfw("wasm"),
  "nsfwjs-cpu": () => nsfw("cpu"),
};

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function main() {
  const { said, ...calls } = await SUBJECTS[name]();
  const answers = {};
  for (const [kind, call] of Object.entries(calls)) answers[kind] = await call(PHOTOS[kind]);
  say({ said, answers });
  for await (const line of createInterface({ input: process.stdin })) {
    const [kind, count] = line.split(" ");
    const times = [];
    for (let index = 0; index < Number(count); index++) {
      const begun = performance.now();
      await calls[kind](PHOTOS[kind]);
      times.push(performance.now() - begun);
    }
    say({ times, rss: process.memoryUsage().rss });
  }
}

main().catch((error) => {
  say({ failed: String(error?.message ?? error) });
  process.exit(1);
});
