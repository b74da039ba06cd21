// sharp's pixels are Pillow's, to the last bit, for photos of many kinds that Pillow made.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { internal, JS } from "./support.mjs";

const { openImage } = internal("image.js");
const folder = mkdtempSync(join(tmpdir(), "aicli-corpus-"));
after(() => rmSync(folder, { recursive: true }));
const made = spawnSync("python", [join(JS, "test", "corpus.py"), folder], { encoding: "utf8" });
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
