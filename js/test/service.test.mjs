// examples/node-service answers: the page, a photo, what is no photo.
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import sharp from "sharp";
import { EXAMPLES, JS } from "./support.mjs";

// As after `npm install` there: its packages in a folder of their own, this package under its name.
const home = mkdtempSync(join(tmpdir(), "aicli-service-"));
mkdirSync(join(home, "node_modules"));
for (const name of ["express", "sharp"]) symlinkSync(join(JS, "node_modules", name), join(home, "node_modules", name));
symlinkSync(JS, join(home, "node_modules", "aicli-vision"));
copyFileSync(join(EXAMPLES, "node-service", "server.js"), join(home, "server.js"));
const { serve } = createRequire(import.meta.url)(join(home, "server.js"));
const server = await serve(0);
after(() => {
  server.close();
  rmSync(home, { recursive: true });
});
if (!server.listening) await new Promise((listening) => server.once("listening", listening));
const address = `http://127.0.0.1:${server.address().port}/`;
const post = (body) => fetch(address, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });

test("the page, a photo with its boxes, an error", async () => {
  assert.match(await (await fetch(address)).text(), /<input type="file"/);
  const answer = await (await post(readFileSync(join(EXAMPLES, "grace_hopper.jpg")))).text();
  assert.match(answer, /military uniform \(medium\), faces: 1/);
  const picture = Buffer.from(/base64,([^"]+)/.exec(answer)[1], "base64");
  const { width, height } = await sharp(picture).metadata();
  assert.deepEqual([width, height], [512, 600]);
  const [red, green, blue] = await sharp(picture).extract({ left: 171, top: 220, width: 1, height: 1 }).raw().toBuffer();
  assert.ok(green > 150 && red < 120 && blue < 120, `${red} ${green} ${blue}`);
  const refused = await post("no photo");
  assert.equal(refused.status, 422);
  assert.match(await refused.text(), /the photo: not an image/);
});
