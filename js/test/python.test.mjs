// Held to the Python tool itself, with files that Python makes: pixels to the last bit, metadata of a model.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Classifier } from "../index.mjs";
import { differences, EXAMPLES, internal, JS } from "./support.mjs";

const { openImage } = internal("node/image.js");
const folder = mkdtempSync(join(tmpdir(), "aicli-corpus-"));
after(() => rmSync(folder, { recursive: true }));
const python = (script) => spawnSync("python", [join(JS, "test", script), folder], { encoding: "utf8" });
const made = python("corpus.py");
const skip = made.status !== 0 && process.env.AICLI_REQUIRE_SHARED !== "1" && "needs a Python on PATH that has aicli";

test("decoding is Python's", { skip }, async () => {
  assert.equal(made.status, 0, made.stderr);
  const lines = made.stdout.trim().split("\n").map(JSON.parse);
  assert.ok(lines.length > 25);
  for (const [name, ...expected] of lines) {
    const { width, height, frames, data } = await openImage(join(folder, name));
    assert.deepEqual([width, height, frames, createHash("sha256").update(data).digest("hex")], expected, name);
  }
});

test("a large photo is made smaller as Pillow's reduce does it", { skip }, async () => {
  const { reduced } = internal("tasks/border.js");
  const { status, stdout, stderr } = python("reduced.py");
  assert.equal(status, 0, stderr);
  const pixels = await openImage(join(EXAMPLES, "chelsea.png"));
  for (const [times, ...expected] of stdout.trim().split("\n").map(JSON.parse)) {
    const { width, height, data } = reduced(pixels, times);
    assert.deepEqual([width, height, createHash("sha256").update(data).digest("hex")], expected, `${times}`);
  }
});

test("a model that aicli train wrote is fed as it says", { skip }, async () => {
  const { status, stdout, stderr } = python("trained.py");
  assert.equal(status, 0, stderr);
  if (stdout.startsWith("no scikit-learn")) return;
  const classifier = await Classifier.load({ model: join(folder, "trained.tflite") });
  const image = join(EXAMPLES, "chelsea.png"); // wider than high: fitted in another way it has other scores
  assert.deepEqual(differences(await classifier.classify(image), { ...JSON.parse(stdout), image }), []);
  assert.deepEqual(classifier.notes, []);
});

test("a model's own normalisation and labels are read", { skip }, async () => {
  const { status, stdout, stderr } = python("described.py");
  assert.equal(status, 0, stderr);
  const classifier = await Classifier.load({ model: join(folder, "described.tflite") });
  const image = join(EXAMPLES, "chelsea.png");
  assert.deepEqual(differences(await classifier.classify(image), { ...JSON.parse(stdout), image }), []);
  assert.deepEqual(classifier.notes, []);
});

test("scores that are not numbers are said to be none", { skip }, async () => {
  assert.equal(python("described.py").status, 0);
  const model = join(folder, "no_numbers.tflite");
  const black = { width: 2, height: 2, data: new Uint8Array(12) };
  const wrong = await Classifier.load({ model, inputRange: [-1, 1] });
  await assert.rejects(wrong.classify(black), { name: "InferenceError", message: /scores are not numbers.*inputRange/ });
  const right = await Classifier.load({ model, inputRange: [1, 2] });
  assert.equal((await right.classify(black)).predictions.length, 3);
});
