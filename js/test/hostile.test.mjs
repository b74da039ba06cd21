// Guests that break the rules: refused as the Python host refuses them, and the next image is answered.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import wabtInit from "wabt";
import { FaceDetector, GuestError, GuestFault, GuestMemoryError, GuestTimeout, GuestTrap, InferenceError, UsageError } from "../index.mjs";
import { ENGINES, JS, PROJECT } from "./support.mjs";

const wabt = await wabtInit();
const folder = mkdtempSync(join(tmpdir(), "aicli-hostile-"));
after(() => rmSync(folder, { recursive: true }));
const pixels = { width: 40, height: 30, data: new Uint8Array(40 * 30 * 3) };

let made = 0;
/** A guest whose task runs `body`; whatever is not given is as it should be. */
function guest({ body = "i32.const 64", alloc, version = 1, pages = 2, imports = "", more = "", features = "" }) {
  const allocate = alloc ?? "(global.get $next) (global.set $next (i32.add (global.get $next) (local.get 0)))";
  const text = `(module ${imports}
    (memory (export "memory") ${pages}) (global $next (mut i32) (i32.const 1024)) ${more}
    (func (export "aicli_abi_version") (result i32) i32.const ${version})
    (func (export "aicli_alloc") (param i32) (result i32) ${allocate})
    (func (export "aicli_dealloc") (param i32 i32)) ${features}
    (func (export "aicli_detect_faces") (param i32) (result i32) ${body}))`;
  const path = join(folder, `${made++}.wasm`);
  writeFileSync(path, wabt.parseWat(path, text).toBinary({}).buffer);
  return path;
}

const load = (parts, options = {}) => FaceDetector.load({ engine: ENGINES[0], guest: guest(parts), ...options });
const word = (place, value) => `(i32.store (i32.const ${place}) (i32.const ${value}))`;
/** A result record at 64. */
const result = (...words) => `${words.map((value, index) => word(64 + 4 * index, value)).join(" ")} i32.const 64`;
const NN = (name, parameters) => `(import "wasi_ephemeral_nn" "${name}" (func $${name} (param ${"i32 ".repeat(parameters)}) (result i32)))`;

async function fails(parts, error, message, options) {
  const detector = await load(parts, options);
  for (let again = 0; again < 2; again++) {
    await assert.rejects(detector.detect(pixels), (thrown) => {
      assert.equal(thrown.constructor, error, String(thrown));
      assert.match(thrown.message, message);
      return true;
    });
  }
}

test("a module that is none, or not for this", async () => {
  const empty = join(folder, "text.wasm");
  writeFileSync(empty, "no module");
  await assert.rejects(FaceDetector.load({ engine: "wasm", guest: empty }), GuestError);
  await assert.rejects(FaceDetector.load({ engine: "wasm", guest: join(folder, "absent.wasm") }), /cannot read the guest/);
  await assert.rejects(load({ version: 2 }), /speaks ABI version 2/);
  await assert.rejects(load({ imports: '(import "env" "open" (func (param i32)))' }), /imports env.open; a guest may import wasi_ephemeral_nn only/);
  await assert.rejects(load({ imports: '(import "wasi_ephemeral_nn" "steal" (func (param i32)))' }), GuestError);
});

test("an answer outside the memory", async () => {
  await fails({ body: "i32.const -8" }, GuestFault, /outside its memory/);
  await fails({ body: result(0, 3, 0x7fffffff, 0, 0, 0) }, GuestFault, /outside its memory/);
  await fails({ body: result(1, 0, 0, 0x7fffffff, 50, 0) }, GuestFault, /outside its memory/);
  await fails({ alloc: "i32.const 0x7fff0000" }, GuestFault, /outside its memory/);
});

test("records that cannot be", async () => {
  await fails({ body: result(0, 1 << 30, 64, 0, 0, 0) }, GuestFault, /1073741824 records where 131072 are the most/);
  const nan = `${word(128, 0x7fc00000)} ${result(0, 1, 128, 0, 0, 0)}`;
  await fails({ body: nan }, GuestFault, /an impossible box or score/);
  await fails({ body: result(9, 0, 0, 0, 0, 0) }, GuestFault, /status 9: it gives no reason/);
});

test("traps and memory", async () => {
  await fails({ body: "unreachable" }, GuestTrap, /unreachable/);
  await fails({ more: "(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))", body: "call $deep" }, GuestTrap, /stack/);
  await fails({ alloc: "i32.const 0" }, GuestMemoryError, /no memory for 3600 bytes/);
  await fails({ alloc: "i32.const 1024" }, GuestFault, /gave out the same memory twice/);
  await assert.rejects(load({ pages: 100 }, { guestMemory: 65536 * 50 }), /begins with 6553600 bytes of memory/);
  // memory.grow gives -1 beyond the limit, whatever maximum the module has.
  const grows = `(if (i32.ne (memory.grow (i32.const 60)) (i32.const -1)) (then unreachable)) ${result(0, 0, 0, 0, 0, 0)}`;
  for (const pages of ["2", "2 4000"]) {
    const detector = await load({ pages, body: grows }, { guestMemory: 65536 * 50 });
    assert.deepEqual((await detector.detect(pixels)).faces, []);
  }
});

// Seconds: more than a guest of these tests ever needs, however busy the machine is.
const guestTimeout = 2;
const USED_UP = "the guest used up its 2 seconds; guestTimeout (--guest-timeout) gives more";

test("a guest that uses up its time is ended, in its call, in the host's, and as it is loaded", async () => {
  const late = (error) => error.constructor === GuestTimeout && error.message === USED_UP;
  const calls = { imports: NN("compute", 1), body: "(loop (drop (call $compute (i32.const 5))) (br 0)) i32.const 64" };
  const [own, host] = [await load({ alloc: "(loop (br 0)) i32.const 64" }, { guestTimeout }), await load(calls, { guestTimeout })];
  const never = load({ more: "(func $hang (loop (br 0))) (start $hang)" }, { guestTimeout });
  await Promise.all([own.detect(pixels), host.detect(pixels), never].map((promise) => assert.rejects(promise, late)));
  for (const wrong of [0, -1, NaN, "5"]) {
    await assert.rejects(load({}, { guestTimeout: wrong }), (error) => error.constructor === UsageError && /guestTimeout is a number of seconds/.test(error.message));
  }
});

test("calls behind one that hangs are answered, and other detectors are not touched", async () => {
  // Hangs at a photo that is 40 wide, and else answers that there is no face.
  const body = `(if (i32.eq (i32.load offset=8 (local.get 0)) (i32.const 40)) (then (loop (br 0)))) ${result(0, 0, 0, 0, 0, 0)}`;
  const [hanging, packaged] = [await load({ body }, { guestTimeout }), await FaceDetector.load({ engine: "wasm", guestTimeout: 60 })];
  const small = { width: 30, height: 30, data: new Uint8Array(2700) };
  const asked = [hanging.detect(small), hanging.detect(pixels), hanging.detect(small), packaged.detect(pixels)];
  const [first, late, behind, other] = await Promise.allSettled(asked);
  assert.equal(late.reason?.constructor, GuestTimeout);
  assert.deepEqual([first, behind, other].map(({ value }) => value?.faces), [[], [], []]);
  hanging.close();
  assert.deepEqual((await hanging.detect(small)).faces, []);
});

test("threads that load at the same time say nothing, and leave standard error as it is", () => {
  const script = `import { FaceDetector } from ${JSON.stringify(join(JS, "index.mjs"))};
    const load = () => FaceDetector.load({ engine: "${ENGINES[0]}", guestTimeout: 30 });
    for (const detector of await Promise.all([load(), load(), load()])) await detector.detect("examples/grace_hopper.jpg");
    console.error("it is as it was");`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: PROJECT, encoding: "utf8" });
  assert.deepEqual([status, stderr], [0, "it is as it was\n"]);
});

test("the command ends with exit code 1 where the guest hangs, and writes what was answered", () => {
  const body = `(if (i32.eq (i32.load offset=8 (local.get 0)) (i32.const 512)) (then (loop (br 0)))) ${result(0, 0, 0, 0, 0, 0)}`;
  const args = ["--guest", guest({ body, pages: 64 }), "--guest-timeout", `${guestTimeout}`, "-f", "jsonl", "-q", "examples/grace_hopper.jpg", "examples/chelsea.png"];
  const main = join(JS, "dist", "node", "main.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "detect-faces", ...args], { cwd: PROJECT, encoding: "utf8" });
  assert.deepEqual([status, stderr], [1, `aicli-vision: ${USED_UP}\n`]);
  const [late, answered] = stdout.trim().split("\n").map(JSON.parse);
  assert.deepEqual([late, answered.faces], [{ image: "examples/grace_hopper.jpg", error: USED_UP }, []]);
});

test("host calls answer with an errno and touch nothing outside the memory", async () => {
  const imports = [NN("load_by_name", 3), NN("init_execution_context", 2), NN("set_input", 3), NN("compute", 1), NN("get_output", 5), NN("unload", 1), NN("load", 5), NN("finalize_execution_context", 1)].join("\n");
  const more = '(data (i32.const 256) "pnetnone")';
  const errno = (call, expected) => `(if (i32.ne ${call} (i32.const ${expected})) (then unreachable))`;
  const checks = [
    errno("(call $load_by_name (i32.const 256) (i32.const 4) (i32.const -2))", 1),
    errno("(call $load_by_name (i32.const -4) (i32.const 64) (i32.const 300))", 1),
    errno("(call $load_by_name (i32.const 260) (i32.const 4) (i32.const 300))", 8),
    errno("(call $load (i32.const 0) (i32.const 1) (i32.const 4) (i32.const 0) (i32.const 300))", 6),
    errno("(call $init_execution_context (i32.const 77) (i32.const 300))", 1),
    errno("(call $load_by_name (i32.const 256) (i32.const 4) (i32.const 300))", 0),
    errno("(call $init_execution_context (i32.load (i32.const 300)) (i32.const 304))", 0),
    errno("(call $unload (i32.load (i32.const 300)))", 0),
    errno("(call $unload (i32.load (i32.const 300)))", 1),
    errno("(call $compute (i32.load (i32.const 304)))", 5),
    errno("(call $get_output (i32.load (i32.const 304)) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 308))", 5),
    // a tensor of 200 dimensions, one of another shape, one whose data lie outside
    word(400, 420), word(404, 200), word(408, 1), word(412, 0), word(416, 0),
    errno("(call $set_input (i32.load (i32.const 304)) (i32.const 0) (i32.const 400))", 1),
    word(404, 4), word(420, 1), word(424, 12), word(428, 12), word(432, 4),
    errno("(call $set_input (i32.load (i32.const 304)) (i32.const 0) (i32.const 400))", 1),
    word(432, 3), word(412, -64), word(416, 1728),
    errno("(call $set_input (i32.load (i32.const 304)) (i32.const 0) (i32.const 400))", 1),
    word(412, 1024), errno("(call $set_input (i32.load (i32.const 304)) (i32.const 3) (i32.const 400))", 1),
    errno("(call $set_input (i32.load (i32.const 304)) (i32.const 0) (i32.const 400))", 0),
    errno("(call $compute (i32.load (i32.const 304)))", 0),
    errno("(call $get_output (i32.load (i32.const 304)) (i32.const 9) (i32.const 2048) (i32.const 64) (i32.const 308))", 1),
    errno("(call $get_output (i32.load (i32.const 304)) (i32.const 0) (i32.const 2048) (i32.const 1) (i32.const 308))", 7),
    errno("(i32.load (i32.const 308))", 16),
    errno("(call $get_output (i32.load (i32.const 304)) (i32.const 0) (i32.const -4) (i32.const 64) (i32.const 308))", 1),
    errno("(call $get_output (i32.load (i32.const 304)) (i32.const 0) (i32.const 2048) (i32.const 64) (i32.const 308))", 0),
    errno("(call $finalize_execution_context (i32.load (i32.const 304)))", 0),
    errno("(call $compute (i32.load (i32.const 304)))", 1),
  ];
  for (const engine of ENGINES) {
    const detector = await load({ imports, more, body: `${checks.join("\n")} ${result(0, 0, 0, 0, 0, 0)}` }, { engine });
    assert.deepEqual((await detector.detect(pixels)).faces, []);
  }
  await fails(
    { imports, more, body: `(drop (call $compute (i32.const 5))) ${result(2, 0, 0, 0, 0, 1)}` },
    InferenceError,
    /the network failed: there is no execution context 5 \(errno 1\)/,
  );
});

test("no more graphs and contexts than the limit", async () => {
  const imports = [NN("load_by_name", 3), NN("init_execution_context", 2)].join("\n");
  const loop = (call) => `(local.set 0 (i32.const 0)) (loop (local.set 1 ${call}) (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br_if 0 (i32.eqz (local.get 1))))`;
  const body = `(local i32) ${word(300, 0)}
    ${loop("(call $load_by_name (i32.const 256) (i32.const 4) (i32.const 300))")}
    (if (i32.or (i32.ne (local.get 0) (i32.const 33)) (i32.ne (local.get 1) (i32.const 4))) (then unreachable))
    ${loop("(call $init_execution_context (i32.load (i32.const 300)) (i32.const 304))")}
    (if (i32.or (i32.ne (local.get 0) (i32.const 129)) (i32.ne (local.get 1) (i32.const 4))) (then unreachable))
    ${result(0, 0, 0, 0, 0, 0)}`;
  const detector = await load({ imports, more: '(data (i32.const 256) "pnet")', body });
  assert.deepEqual((await detector.detect(pixels)).faces, []);
});
