// Python's answers (tests/data/golden.json, held to by tests/tasks/test_golden.py) from both engines.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { Classifier, FaceDetector } from "../index.mjs";
import { differences, ENGINES, golden, hasShared, PROJECT } from "./support.mjs";

const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const placed = (key, value) => (["model", "labels"].includes(key) && /\//.test(value) ? join(PROJECT, value) : value);
const fromPython = (options) =>
  Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), placed(key, value)]));

// Cases of one model follow each other: it is loaded once.
const groups = Map.groupBy
  ? Map.groupBy(golden(), ({ task, options }) => `${task} ${JSON.stringify(options)}`)
  : golden().reduce((all, item) => {
      const key = `${item.task} ${JSON.stringify(item.options)}`;
      return all.set(key, [...(all.get(key) ?? []), item]);
    }, new Map());

for (const engine of ENGINES) {
  for (const [name, cases] of groups) {
    const skip = !hasShared && name.includes("shared/");
    test(`${engine}: ${name}`, { skip }, async () => {
      const { task, options } = cases[0];
      const Task = task === "classify" ? Classifier : FaceDetector;
      const loaded = await Task.load({ ...fromPython(options), engine });
      for (const { answer } of cases.filter(({ answer: { image } }) => hasShared || !image.includes("shared/"))) {
        const photo = join(PROJECT, answer.image);
        const found = await (task === "classify" ? loaded.classify(photo) : loaded.detect(photo));
        assert.deepEqual(differences({ ...found, image: answer.image }, answer), [], answer.image);
      }
      loaded.close();
    });
  }
}
