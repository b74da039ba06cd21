/** The two commands: options, images one after the other, records, exit codes. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { writeBrowserFiles } from "./browser_files.js";
import { Classifier } from "./classifier.js";
import { type DrawingOptions, requireSuffix, writeBoxes } from "./drawing.js";
import { AicliError, ImageError, UsageError } from "../errors.js";
import { FaceDetector } from "./faces.js";
import type { EngineName } from "../nn/engine.js";
import { type Format, FORMATS, makeWriter, type Result, visible } from "./records.js";

const text = (short?: string) => ({ type: "string" as const, ...(short ? { short } : {}) });
const flag = (short?: string) => ({ type: "boolean" as const, ...(short ? { short } : {}) });

const COMMON = {
  model: text("m"), "min-score": text(), format: text("f"), "max-pixels": text(), engine: text(), threads: text(), guest: text(),
  "guest-memory": text(), "guest-timeout": text(), quiet: flag("q"), verbose: flag("v"),
};
const OPTIONS: Record<string, NonNullable<ParseArgsConfig["options"]>> = {
  classify: {
    ...COMMON, labels: text("l"), top: text("k"), "input-range": text(), mean: text(), std: text(), resize: text(), channels: text(),
    "output-tensor": text(),
  },
  "detect-faces": {
    ...COMMON, "min-size": text(), thresholds: text(), factor: text(), "max-faces": text(), turns: flag(), border: flag(), output: text("o"), landmarks: flag(),
    color: text(), "line-width": text(),
  },
};

/** A run of no more images needs no summary, unless some failed. */
const FEW = 4;

/** Answers images and says how it went: the exit code. */
type Answer = (image: string, source: string | Uint8Array) => Promise<{ result: Result; output?: string }>;

class Values {
  constructor(private readonly values: Readonly<Record<string, unknown>>) {}

  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): string[] {
    const value = this.values[name];
    return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  }

  flag(name: string): boolean {
    return this.values[name] === true;
  }

  number(name: string): number | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : toNumber(name, value);
  }

  numbers(name: string): number[] | undefined {
    return this.text(name)?.split(",").map((part) => toNumber(name, part));
  }

  choice<Choice extends string>(name: string, allowed: readonly Choice[]): Choice | undefined {
    const value = this.text(name);
    const found = allowed.find((choice) => choice === value);
    if (value !== undefined && !found) throw new UsageError(`--${name} is one of ${allowed.join(", ")}, not '${value}'`);
    return found;
  }

  bytes(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const [, digits, unit = ""] = /^(\d+(?:\.\d+)?)([KMG]?)i?B?$/i.exec(value) ?? [];
    if (!digits) throw new UsageError(`--${name} is a size such as 512M, not '${value}'`);
    return Math.floor(Number(digits) * 1024 ** " KMG".indexOf(unit.toUpperCase() || " "));
  }
}

function toNumber(name: string, value: string): number {
  const number = Number(value);
  if (!value.trim() || !Number.isFinite(number)) throw new UsageError(`--${name}: '${value}' is not a number`);
  return number;
}

export async function run(command: string, args: readonly string[]): Promise<number> {
  if (command === "browser-files") return browserFiles(args);
  const options = OPTIONS[command];
  if (!options) throw new UsageError(`there is no command '${command}'; there is classify, detect-faces, browser-files`);
  const { values, positionals } = parse(options, args);
  const format = values.choice<Format>("format", FORMATS) ?? (process.stdout.isTTY ? "table" : "text");
  if (!positionals.length) throw new UsageError("no image was given; name files, or '-' for standard input");
  const answer = await (command === "classify" ? classifying(values) : detecting(values, positionals));
  const writer = makeWriter(format, (written) => process.stdout.write(written), values.text("top") !== undefined);
  const begun = performance.now();
  let failed = 0;
  for (const image of positionals) {
    try {
      const name = image === "-" ? "<stdin>" : image;
      const { result, output } = await answer(name, image === "-" ? await standardInput() : image);
      writer.result(result, output);
    } catch (error) {
      if (!(error instanceof AicliError) || (error instanceof UsageError && positionals.length === 1)) throw error;
      failed++;
      writer.failure(image, error.message);
      complain(error.message);
    }
  }
  writer.close();
  if (positionals.length > (failed ? 1 : FEW) && !values.flag("quiet")) {
    const seconds = (performance.now() - begun) / 1000;
    const rate = (positionals.length / Math.max(seconds, 1e-9)).toFixed(1);
    complain(`${positionals.length} images in ${seconds.toFixed(1)} s (${rate}/s), ${failed ? `${failed} failed` : "none failed"}`);
  }
  return failed ? 1 : 0;
}

function complain(message: string): void {
  process.stderr.write(`aicli-vision: ${visible(message)}\n`);
}

function parse(options: NonNullable<ParseArgsConfig["options"]>, args: readonly string[]): { values: Values; positionals: string[] } {
  const joined = [...args];
  // Three values behind one option, as the Python tool takes them.
  const place = joined.indexOf("--thresholds");
  if (place >= 0) joined.splice(place, 4, `--thresholds=${joined.slice(place + 1, place + 4).join(",")}`);
  // A value that begins with a minus, such as --input-range -1,1.
  const given = joined.flatMap((arg, index) => {
    const before = joined[index - 1] ?? "";
    if (/^-[\d.]/.test(arg) && /^--[a-z-]+$/.test(before)) return [];
    const next = joined[index + 1] ?? "";
    return /^--[a-z-]+$/.test(arg) && /^-[\d.]/.test(next) ? [`${arg}=${next}`] : [arg];
  });
  try {
    const { values, positionals } = parseArgs({ args: given, options, allowPositionals: true, strict: true });
    return { values: new Values(values), positionals };
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split(". ")[0] ?? ""}; aicli-vision --help shows the options`);
  }
}

function browserFiles(args: readonly string[]): number {
  const options = { out: text(), model: { ...text("m"), multiple: true }, quiet: flag("q") };
  const { values, positionals } = parse(options, args);
  const out = values.text("out");
  if (out === undefined || positionals.length) throw new UsageError("name the folder to write: aicli-vision browser-files --out FOLDER");
  const { files, bytes } = writeBrowserFiles(out, values.texts("model"));
  if (!values.flag("quiet")) complain(`${out}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB`);
  return 0;
}

async function standardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  if (!chunks.length) throw new ImageError("<stdin>: empty; nothing to decode, get the file again");
  return Buffer.concat(chunks);
}

function common(values: Values) {
  return {
    model: values.text("model"),
    minScore: values.number("min-score"),
    maxPixels: values.number("max-pixels"),
    engine: values.text("engine") as EngineName | undefined,
    threads: values.number("threads"),
    guest: values.text("guest"),
    guestMemory: values.bytes("guest-memory"),
    guestTimeout: values.number("guest-timeout"),
  };
}

async function classifying(values: Values): Promise<Answer> {
  const top = values.number("top");
  if (top !== undefined && top < 1) throw new UsageError(`--top is a number from 1, not ${top}`);
  const classifier = await Classifier.load({
    ...common(values), topK: top, labels: values.text("labels"), inputRange: values.numbers("input-range"), mean: values.numbers("mean"),
    std: values.numbers("std"), resize: values.choice("resize", ["squash", "crop", "pad"] as const),
    channels: values.choice("channels", ["rgb", "bgr"] as const), outputTensor: values.number("output-tensor"),
  });
  if (!values.flag("quiet")) for (const note of classifier.notes) complain(`note: ${note}`);
  if (values.flag("verbose")) complain(`engine: ${classifier.engine}`);
  return async (name, source) => ({ result: await classifier.classify(source, { name }) });
}

async function detecting(values: Values, images: readonly string[]): Promise<Answer> {
  const output = values.text("output");
  const drawing = drawingOptions(values);
  if (output !== undefined) {
    if (images.length !== 1 || images[0] === "-") throw new UsageError("-o is for one image, and not for standard input");
    requireSuffix(output);
  }
  const detector = await FaceDetector.load({
    ...common(values), minSize: values.number("min-size"), thresholds: values.numbers("thresholds"), factor: values.number("factor"),
    maxFaces: values.number("max-faces"), turns: values.flag("turns"), border: values.flag("border"),
  });
  if (values.flag("verbose")) complain(`engine: ${detector.engine}`);
  return async (name, source) => {
    const result = await detector.detect(source, { name });
    if (output === undefined || typeof source !== "string") return { result };
    await writeBoxes(source, result, output, drawing);
    return { result, output };
  };
}

function drawingOptions(values: Values): DrawingOptions {
  const color = values.text("color") ?? "lime";
  if (!/^(#[0-9a-f]{6}|[a-z]+)$/i.test(color)) throw new UsageError(`${color} is not a colour; give a name such as lime, or #00ff00`);
  const lineWidth = values.number("line-width");
  if (lineWidth !== undefined && !(lineWidth >= 1 && lineWidth <= 500)) throw new UsageError("--line-width is a number from 1 to 500");
  return { color, lineWidth, landmarks: values.flag("landmarks") };
}
