// The package as a user has it: inputs, errors, two detectors side by side, flat memory, the packed archive, the command.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { build } from "esbuild";
import sharp from "sharp";
import { Classifier, FaceDetector, ImageError, ImageTooLargeError, LabelsError, ModelError, UnavailableError, UsageError } from "../index.mjs";
import { hasChromium, serveFolder, startChromium } from "./chromium.mjs";
import { differences, ENGINES, EXAMPLES, golden, internal, JS, PROJECT } from "./support.mjs";

const folder = mkdtempSync(join(tmpdir(), "aicli-package-"));
after(() => rmSync(folder, { recursive: true }));
const PHOTO = join(EXAMPLES, "grace_hopper.jpg");
const command = (...args) => spawnSync(process.execPath, [join(JS, "dist", "node", "main.js"), ...args], { cwd: join(JS, ".."), encoding: "utf8" });
const answer = (task, image) => golden().find((item) => item.task === task && !Object.keys(item.options).length && item.answer.image === image).answer;

const DOCS = ["README.md", "js/README.md", "docs/javascript.md"];
/** The blocks of a document in this language. */
const blocks = (file, language) =>
  [...readFileSync(join(PROJECT, file), "utf8").matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, "gm"))].map(([, text]) => text);

test("a path, bytes, and pixels give the same answer", async () => {
  const detector = await FaceDetector.load();
  const { data, info } = await sharp(PHOTO).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const { faces } = await detector.detect(PHOTO);
  assert.equal(faces.length, 1);
  const bytes = readFileSync(PHOTO);
  for (const source of [bytes, new Uint8Array(bytes).buffer, { data: new Uint8ClampedArray(data), width: info.width, height: info.height }]) {
    assert.deepEqual((await detector.detect(source)).faces, faces);
  }
  assert.equal((await detector.detect(bytes, { name: "upload" })).image, "upload");
  await assert.rejects(detector.detect(42), TypeError);
});

test("photos are upright, without alpha and colour profile, as in Python", async () => {
  const { openImage } = internal("node/image.js");
  const turned = await sharp({ create: { width: 4, height: 2, channels: 3, background: "#123456" } }).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  const upright = await openImage(turned);
  assert.deepEqual([upright.width, upright.height], [2, 4]);
  const clear = await sharp({ create: { width: 1, height: 1, channels: 4, background: { r: 10, g: 20, b: 30, alpha: 0.5 } } }).png().toBuffer();
  const [red] = (await openImage(clear)).data;
  const [same] = (await openImage({ width: 1, height: 1, data: Uint8Array.of(10, 20, 30, 128) })).data;
  assert.deepEqual([red, same], [132, 132]);
  const wide = await sharp(Uint16Array.of(0, 32768, 65535), { raw: { width: 3, height: 1, channels: 1 } }).toColourspace("grey16").png().toBuffer();
  assert.deepEqual([...(await openImage(wide)).data], [0, 0, 0, 128, 128, 128, 255, 255, 255]);
});

test("what cannot be read is one line that names the file and the next step", async () => {
  const detector = await FaceDetector.load({ maxPixels: 1000 });
  const cut = join(folder, "cut.jpg");
  writeFileSync(cut, readFileSync(PHOTO).subarray(0, 20_000));
  const text = join(folder, "text.jpg");
  writeFileSync(text, "no image");
  const cases = [
    [join(folder, "absent.jpg"), ImageError, /absent.jpg: no such file; check the path$/],
    [folder, ImageError, /a folder, not an image; give the image files in it$/],
    [text, ImageError, /text.jpg: not an image, or a format that is not supported; give a JPEG/],
    [Buffer.alloc(0), ImageError, /<bytes>: empty/],
    [Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'), ImageError, /a drawing \(svg\)/],
    [PHOTO, ImageTooLargeError, /512 x 600 pixels, more than the limit of 1000/],
    [{ width: 2, height: 2, data: new Uint8Array(5) }, ImageError, /5 bytes for 2 x 2 pixels/],
  ];
  for (const [source, type, message] of cases) {
    await assert.rejects(detector.detect(source), (error) => error instanceof type && message.test(error.message) && error.exitCode === 1);
  }
  await assert.rejects((await FaceDetector.load()).detect(cut), (error) => error instanceof ImageError && /cut.jpg: damaged or cut off/.test(error.message));
});

test("a request that is wrong says what is right", async () => {
  const model = join(JS, "..", "models", "dog_breeds.tflite");
  const damaged = join(folder, "damaged.tflite");
  writeFileSync(damaged, readFileSync(model).subarray(0, 3000));
  const cases = [
    [Classifier, { model: "no_such" }, ModelError, /no model 'no_such'/],
    [Classifier, { model: "mtcnn" }, ModelError, /for the task detect-faces/],
    [Classifier, { model: "mobilenet_v2" }, ModelError, /aicli models pull mobilenet_v2/],
    [Classifier, { model }, ModelError, /nothing says what range its input has/],
    [Classifier, { model: damaged, inputRange: [0, 1] }, ModelError, /not a TFLite model that can be read/],
    [Classifier, { model, inputRange: [1, 0] }, UsageError, /two numbers, the smaller first/],
    [Classifier, { labels: ["a", "b"] }, LabelsError, /1000 classes, but there are 2 labels/],
    [Classifier, { topK: 1.5 }, UsageError, /topK is a whole number/],
    [FaceDetector, { factor: 2 }, UsageError, /factor is a number from 0.1 to 0.95/],
    [FaceDetector, { turns: "no" }, UsageError, /turns is true or false, not no/],
    [FaceDetector, { engine: "gpu" }, UsageError, /choose one of native, wasm/],
    [Classifier, { topk: 3 }, UsageError, /^Classifier.load has no option 'topk'; did you mean 'topK'\?$/],
    [FaceDetector, { min_size: 40, guestTimeout: 5 }, UsageError, /^FaceDetector.load has no option 'min_size'; did you mean 'minSize'\?$/],
    [FaceDetector, { treshold: [0.1, 0.1, 0.1] }, UsageError, /did you mean 'thresholds'\?$/],
    [FaceDetector, { name: "x" }, UsageError, /^FaceDetector.load has no option 'name'$/],
    [Classifier, { toString: 1 }, UsageError, /has no option 'toString'/],
    [Classifier, "mobilenet.tflite", UsageError, /^Classifier.load: options are an object such as \{ topK: ... \}, not mobilenet.tflite$/],
    [Classifier, null, UsageError, /options are an object .*, not null$/],
  ];
  process.env.AICLI_MODELS_DIR = folder;
  for (const [Task, options, type, message] of cases) {
    await assert.rejects(Task.load(options), (error) => error.constructor === type && message.test(error.message) && error.exitCode === 2);
  }
  const [detector, classifier] = await Promise.all([FaceDetector.load(), Classifier.load()]);
  for (const [answered, message] of [
    [detector.detect(PHOTO, { maxFace: 1 }), /^detect has no option 'maxFace'; did you mean 'maxFaces'\?$/],
    [detector.detect(PHOTO, { engine: "wasm" }), /^detect has no option 'engine'; FaceDetector.load takes it$/],
    [classifier.classify(PHOTO, { labels: ["a"] }), /^classify has no option 'labels'; Classifier.load takes it$/],
    [classifier.classify(PHOTO, 3), /^classify: options are an object such as \{ topK: ... \}, not 3$/],
  ]) {
    await assert.rejects(answered, (error) => error.constructor === UsageError && message.test(error.message));
  }
  process.env.AICLI_LITERT_LIBRARY = join(folder, "absent.so");
  await assert.rejects(FaceDetector.load(), (error) => error instanceof UnavailableError && /absent.so: no such file/.test(error.message));
  delete process.env.AICLI_LITERT_LIBRARY;
});

test("a model of the Python tool's folder is found by its name", async () => {
  process.env.AICLI_MODELS_DIR = folder;
  const file = "dogs.tflite";
  writeFileSync(join(folder, file), readFileSync(join(JS, "data", "models", "dog_breeds.tflite")));
  const entry = { name: "my_dogs", task: "classify", files: { model: { file } }, input: { mean: 127.5, std: 127.5, filter: "bicubic" } };
  writeFileSync(join(folder, "registry.json"), JSON.stringify({ version: 1, models: [entry] }));
  const mine = await Classifier.load({ model: "my_dogs", topK: 1 });
  const [best] = (await mine.classify(PHOTO)).predictions;
  const [theirs] = (await (await Classifier.load({ model: "dog_breeds" })).classify(PHOTO)).predictions;
  assert.deepEqual([best.index, best.score, best.label], [theirs.index, theirs.score, `class ${theirs.index}`]);
  assert.match(mine.notes[0], /no labels/);
});

for (const engine of ENGINES) {
  test(`${engine}: two detectors side by side, and memory that does not grow`, async () => {
    const [first, second] = [await FaceDetector.load({ engine, threads: 1 }), await FaceDetector.load({ engine, threads: 1, maxFaces: 1 })];
    const { data, info } = await sharp(PHOTO).resize(48, 56).raw().toBuffer({ resolveWithObject: true });
    const image = { data, width: info.width, height: info.height };
    const [one, other] = await Promise.all([first.detect(image), second.detect(image)]);
    assert.deepEqual(other.faces, one.faces);
    assert.equal(one.faces.length, 1);
    for (let index = 0; index < 50; index++) await first.detect(image);
    const before = process.memoryUsage().rss;
    for (let index = 0; index < 1000; index++) await first.detect(image);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    assert.ok(grown < 30, `${grown.toFixed(1)} MiB more after 1000 images`);
    first.close();
    assert.deepEqual((await first.detect(image)).faces, one.faces);
  });
}

test("the command answers as Python's, with its exit codes", () => {
  const photos = ["examples/chelsea.png", "examples/grace_hopper.jpg"];
  const records = command("classify", "-f", "jsonl", ...photos);
  assert.equal(records.status, 0, records.stderr);
  assert.equal(records.stderr, "");
  assert.match(command("classify", ...photos, ...photos, photos[0]).stderr, /^aicli-vision: 5 images in .*, none failed\n$/);
  assert.match(command("classify", "absent.jpg", photos[0]).stderr, /check the path\naicli-vision: 2 images in .*, 1 failed\n$/);
  assert.deepEqual(records.stdout.trim().split("\n").map(JSON.parse), photos.map((photo) => answer("classify", photo)));
  assert.equal(command("classify", ...photos).stdout, "examples/chelsea.png\tEgyptian cat\t0.3843\nexamples/grace_hopper.jpg\tmilitary uniform\t0.3941\n");
  if (existsSync("/dev/full")) {
    const full = spawnSync("sh", ["-c", '"$@" > /dev/full', "sh", process.execPath, join(JS, "dist", "node", "main.js"), "classify", photos[0]], { cwd: PROJECT, encoding: "utf8" });
    assert.deepEqual([full.status, full.stderr], [1, "aicli-vision: cannot write to standard output: no space left on device\n"]);
  }
  assert.match(command("detect-faces", photos[0], "-o", "absent/x.png").stderr, /cannot write absent\/x.png: no such file or directory\n$/);
  assert.match(command("classify", photos[0], "-l", "absent.txt").stderr, /cannot read the labels absent.txt: no such file or directory\n$/);
  const mixed = command("detect-faces", "-q", "-f", "json", "absent.jpg", photos[1]);
  assert.equal(mixed.status, 1);
  assert.equal(mixed.stderr, "aicli-vision: absent.jpg: no such file; check the path\n");
  assert.deepEqual(JSON.parse(mixed.stdout), [{ image: "absent.jpg", error: "absent.jpg: no such file; check the path" }, answer("detect-faces", photos[1])]);
  for (const [args, message] of [
    [["classify"], /no image was given/],
    [["classify", "--nope", "x"], /Unknown option '--nope'/],
    [["describe", "x"], /no command 'describe'/],
    [["classify", "-m", "nope", photos[0]], /there is no model 'nope'/],
    [["detect-faces", "--thresholds", "0.6", "0.7", "7", photos[1]], /thresholds is a number from 0 to 1/],
    [["detect-faces", "-o", photos[1], photos[1]], /this is the photo itself/],
  ]) {
    const { status, stderr, stdout } = command(...args);
    assert.deepEqual([status, stdout, stderr.trim().split("\n").length], [2, "", 1], stderr);
    assert.match(stderr, message);
  }
});

test("the command finds faces of turned and cut photos, and writes what Python's does", () => {
  for (const [photo, ...options] of [["on_its_side", "--turns"], ["cut", "--border"], ["cut_on_its_side", "--turns", "--border"]]) {
    const image = `tests/data/faces/${photo}.jpg`;
    const { answer: expected } = golden().find((item) => item.answer.image === image);
    const { status, stdout, stderr } = command("detect-faces", "-f", "jsonl", ...options, image);
    assert.equal(status, 0, stderr);
    assert.deepEqual(differences(JSON.parse(stdout), expected), []);
    assert.equal(JSON.parse(command("detect-faces", "-f", "jsonl", image).stdout).faces.length, 0, "not without looking further");
  }
});

test("-o writes the photo with a box around the face", async () => {
  const out = join(folder, "out.png");
  const { status, stdout, stderr } = command("detect-faces", "--thresholds", "0.6", "0.7", "0.8", "-f", "jsonl", "-o", out, "--landmarks", "examples/grace_hopper.jpg");
  assert.equal(status, 0, stderr);
  const record = JSON.parse(stdout);
  assert.equal(record.output, out);
  const { data, info } = await sharp(out).raw().toBuffer({ resolveWithObject: true });
  const pixel = (x, y) => [...data.subarray((y * info.width + x) * info.channels, (y * info.width + x) * info.channels + 3)];
  const [x1, y1, , y2] = record.faces[0].box.map(Math.round);
  assert.deepEqual([info.width, info.height], [512, 600]);
  assert.deepEqual(pixel(x1 - 1, Math.round((y1 + y2) / 2)), [0, 255, 0]);
  assert.notDeepEqual(pixel(x1, Math.round((y1 + y2) / 2)), [0, 255, 0]);
  assert.deepEqual(pixel(...record.faces[0].landmarks.nose.map(Math.round)), [0, 255, 0]);
});

test("the archive installs in an empty folder", async (context) => {
  const [{ filename, files }] = JSON.parse(execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: JS, encoding: "utf8" }));
  const names = files.map(({ path }) => path);
  for (const needed of ["LICENSE", "README.md", "dist/node/index.d.ts", "browser/index.js", "browser/index.d.ts", "browser/types/browser/index.d.ts", "browser/worker.js", "data/aicli_guest.wasm", "data/models/catalog.json", "data/models/LICENSES/mtcnn.txt"]) {
    assert.ok(names.includes(needed), needed);
  }
  const home = join(folder, "home");
  mkdirSync(home);
  writeFileSync(join(home, "package.json"), "{}");
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(folder, filename)], { cwd: home, stdio: "pipe" });
  const run = (...args) => execFileSync(args[0], args.slice(1), { cwd: home, encoding: "utf8" }).trim();
  const photo = JSON.stringify(PHOTO);

  await context.test("for require, import and the command", () => {
    writeFileSync(join(home, "a.cjs"), `const { FaceDetector } = require("aicli-vision"); FaceDetector.load({ engine: "wasm" }).then((d) => d.detect(${photo})).then(({ faces }) => console.log(faces.length));`);
    writeFileSync(join(home, "b.mjs"), `import { Classifier } from "aicli-vision"; const c = await Classifier.load(); console.log((await c.classify(${photo})).predictions[0].label);`);
    assert.equal(run(process.execPath, "a.cjs"), "1");
    assert.equal(run(process.execPath, "b.mjs"), "military uniform");
    assert.match(run("npx", "--no-install", "aicli-vision", "classify", PHOTO), /military uniform/);
  });

  await context.test("what the documentation shows of Node.js runs", () => {
    for (const name of ["group.jpg", "cat.jpg"]) writeFileSync(join(home, name), readFileSync(PHOTO));
    const scripts = DOCS.flatMap((file) => blocks(file, "js")).filter((script) => !script.includes("aicli-vision/browser"));
    assert.equal(scripts.length, 3);
    for (const script of scripts) {
      const name = script.includes("require(") ? "snippet.cjs" : "snippet.mjs";
      writeFileSync(join(home, name), script);
      run(process.execPath, name);
    }
    run("npx", "--no-install", "aicli-vision", "detect-faces", "group.jpg", "-o", "out.png");
    assert.ok(existsSync(join(home, "out.png")));
  });

  const site = join(home, "site");
  await context.test("its command writes the folder for browsers, and nothing over what is another's", () => {
    const write = (...args) => spawnSync("npx", ["--no-install", "aicli-vision", "browser-files", ...args], { cwd: home, encoding: "utf8" });
    assert.match(write("--out", "site/aicli").stderr, /site\/aicli: \d+ files, 35/);
    const listed = Object.keys(JSON.parse(readFileSync(join(site, "aicli", "files.json"), "utf8")).files);
    for (const needed of ["index.d.ts", "litert/litert_wasm_internal.wasm", "data/models/efficientnet_lite0.tflite", "data/models/LICENSES/mtcnn.txt"]) {
      assert.ok(listed.includes(needed), needed);
    }
    assert.equal(write("-q", "--out", "site/aicli", "-m", "dog_breeds").stderr, "");
    assert.ok(!existsSync(join(site, "aicli", "data", "models", "efficientnet_lite0.tflite")), "of another choice");
    writeFileSync(join(site, "aicli", "worker.js"), "mine");
    for (const [args, message] of [
      [["--out", "site/aicli"], /worker.js: this file was not written by aicli-vision, or changed since/],
      [["--out", "."], /the folder has files that aicli-vision did not write/],
      [["--out", "site/other", "-m", "nope"], /there is no model 'nope'; there is efficientnet_lite0,/],
      [[], /name the folder to write/],
    ]) {
      const { status, stderr } = write(...args);
      assert.deepEqual([status, stderr.trim().split("\n").length], [2, 1], stderr);
      assert.match(stderr, message);
    }
    rmSync(join(site, "aicli", "worker.js")); // as after a run that was interrupted
    assert.equal(write("--out", "site/aicli").status, 0);
    const list = readFileSync(join(site, "aicli", "files.json"), "utf8");
    assert.ok(!list.includes("former"), "what only an interrupted run needs");
  });

  await context.test("with types for Node.js, for aicli-vision/browser and for the folder", () => {
    writeFileSync(join(home, "c.ts"), `import { FaceDetector, type Face } from "aicli-vision";\nexport const find = async (): Promise<readonly Face[]> => (await (await FaceDetector.load({ minSize: 40, turns: true })).detect("x.jpg")).faces;
const options = { topk: 3 } as const;
// @ts-expect-error a name that is no option
void FaceDetector.load(options);
// @ts-expect-error an option of load alone
void FaceDetector.load().then((detector) => detector.detect("x.jpg", { engine: "wasm" }));
`);
    for (const [file, module] of [["d.mts", "aicli-vision/browser"], ["e.mts", "./site/aicli/index.js"]]) {
      writeFileSync(join(home, file), `import { Classifier, FaceDetector, GuestTimeout, setAssetFolder, type Detection, type Progress } from "${module}";
setAssetFolder("/aicli/");
export const report = ({ loaded, total }: Progress): number => loaded / total;
export const find = async (image: HTMLImageElement): Promise<Detection> => (await FaceDetector.load({ onProgress: report, guestTimeout: 5 })).detect(image, { border: true });
export const label = async (): Promise<string | undefined> => (await (await Classifier.load({ topK: 1 })).classify(new Blob())).predictions[0]?.label;
export const late = (error: unknown): boolean => error instanceof GuestTimeout;
// @ts-expect-error an option that Node.js alone has
void FaceDetector.load({ threads: 2 });
`);
    }
    run(process.execPath, join(JS, "node_modules", "typescript", "bin", "tsc"), "--noEmit", "--strict", "--module", "nodenext", "--types", "", "--lib", "es2022,dom", "c.ts", "d.mts", "e.mts");
  });

  await context.test("in Chromium, from the folder and through a bundler", { skip: !hasChromium && "needs chromium and chromedriver" }, async () => {
    writeFileSync(join(site, "index.html"), "<!doctype html><title>empty</title>");
    writeFileSync(join(site, "photo.jpg"), readFileSync(PHOTO));
    writeFileSync(join(home, "app.js"), `import { Classifier, setAssetFolder } from "aicli-vision/browser";\nsetAssetFolder("/aicli");\nexport const best = async (image) => (await (await Classifier.load({ topK: 1 })).classify(image)).predictions[0].label;\n`);
    await build({ entryPoints: [join(home, "app.js")], bundle: true, format: "esm", outfile: join(site, "scripts", "app.js"), logLevel: "error" });
    const [server, browser] = await Promise.all([serveFolder(site), startChromium()]);
    try {
      await browser.open(server.url);
      const found = await browser.run(`const { FaceDetector } = await import("/aicli/index.js"); const found = await (await FaceDetector.load()).detect("photo.jpg"); return { ...found, image: "examples/grace_hopper.jpg" };`);
      assert.deepEqual(differences(found, answer("detect-faces", "examples/grace_hopper.jpg")), []);
      assert.ok(!server.asked.some((path) => path.includes("efficientnet") || path.endsWith(".d.ts")), "what nobody asked for");
      for (const [index, snippet] of DOCS.flatMap((file) => blocks(file, "html")).entries()) {
        // As the documentation shows it, in a page with a photo; then it says what it found.
        const said = snippet.replace("</script>", "document.title = `${faces.length} found`;</script>");
        writeFileSync(join(site, `snippet${index}.html`), `<!doctype html><img src="photo.jpg">${said}`);
        await browser.open(`${server.url}snippet${index}.html`);
        const title = "while (!/found/.test(document.title)) await new Promise((later) => setTimeout(later, 20)); return document.title;";
        assert.equal(await browser.run(title), "1 found");
      }
      await browser.open(server.url);
      const refused = await browser.run(`const { Classifier } = await import("/aicli/index.js"); return Classifier.load({ topk: 1 }).catch(({ name, message }) => [name, message]);`);
      assert.deepEqual(refused, ["UsageError", "Classifier.load has no option 'topk'; did you mean 'topK'?"]);
      assert.equal(await browser.run(`return (await import("/scripts/app.js")).best("photo.jpg");`), "military uniform");
    } finally {
      await browser.close();
      server.close();
    }
  });
});
