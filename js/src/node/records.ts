/** Results as records, byte for byte as the Python tool writes them: table, text, json, jsonl. */
import { type Classification, type Detection, type Face } from "../results.js";

export const FORMATS = ["table", "text", "json", "jsonl"] as const;
export type Format = (typeof FORMATS)[number];
export type Result = Classification | Detection;

export interface Writer {
  result(result: Result, output?: string): void;
  failure(image: string, error: string): void;
  close(): void;
}

/** The writer of a format; `all`: text shows every label, because their number was asked for. */
export function makeWriter(format: Format, emit: (text: string) => void, all: boolean): Writer {
  const silent = (): void => {};
  if (format === "text") return { result: (result) => emit(text(result, all)), failure: silent, close: silent };
  if (format === "table") {
    let lines = 0;
    const result = (answer: Result, output?: string): void => {
      const section = table(answer) + (output === undefined ? "" : `  saved as ${visible(output)}\n`);
      const count = section.split("\n").length - 1;
      emit((lines && Math.max(lines, count) > 1 ? "\n" : "") + section);
      lines = count;
    };
    return { result, failure: silent, close: silent };
  }
  if (format === "jsonl") {
    return {
      result: (result, output) => emit(`${json(result, output)}\n`),
      failure: (image, error) => emit(`${object({ image: string(image), error: string(error) })}\n`),
      close: silent,
    };
  }
  let records = 0;
  const record = (body: string): void => emit((records++ ? ",\n" : "[\n") + body);
  return {
    result: (result, output) => record(json(result, output)),
    failure: (image, error) => record(object({ image: string(image), error: string(error) })),
    close: () => emit(records ? "\n]\n" : "[]\n"),
  };
}

/** A record on one line, with Python's separators and numbers. */
function json(result: Result, output: string | undefined): string {
  const fields: Record<string, string> = {
    image: string(result.image), width: `${result.width}`, height: `${result.height}`, model: string(result.model),
  };
  if (result.frames !== undefined) Object.assign(fields, { frames: `${result.frames}`, frame: `${result.frame ?? 0}` });
  if ("faces" in result) {
    fields["faces"] = list(result.faces.map((face) => object({
      box: list(face.box.map(float)),
      score: float(face.score),
      landmarks: object(Object.fromEntries(Object.entries(face.landmarks).map(([name, point]) => [name, list(point.map(float))]))),
      ...(face.turn === undefined ? {} : { turn: `${face.turn}` }),
    })));
  } else {
    fields["predictions"] = list(result.predictions.map(({ index, label, score, confidence }) =>
      object({ index: `${index}`, label: string(label), score: float(score), confidence: string(confidence) }),
    ));
  }
  if (output !== undefined) fields["output"] = string(output);
  return object(fields);
}

function object(fields: Readonly<Record<string, string>>): string {
  return `{${Object.entries(fields).map(([name, value]) => `"${name}": ${value}`).join(", ")}}`;
}

function list(items: readonly string[]): string {
  return `[${items.join(", ")}]`;
}

/** Control characters and line separators are escaped: valid in JSON, but not for a terminal or a program that splits lines. */
function string(value: string): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f\u2028\u2029]/g, (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A number as Python writes a float: 1 is 1.0, a small one 1.2e-05. */
function float(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-4) return value.toExponential().replace(/e-(\d)$/, "e-0$1");
  if (Object.is(value, -0)) return "-0.0";
  return Number.isInteger(value) ? `${value}.0` : `${value}`;
}

function text(result: Result, all: boolean): string {
  const path = oneLine(result.image);
  let rows: string[][];
  if ("faces" in result) {
    rows = result.faces.map(({ box, score }) => [path, ...box.map((value) => value.toFixed(1)), score.toFixed(4)]);
  } else {
    const shown = all ? result.predictions : result.predictions.slice(0, 1);
    rows = shown.map(({ label, score }) => [path, oneLine(label), score.toFixed(4)]);
    if (!rows.length) rows = [[path, "-", "-"]];
  }
  return rows.map((row) => `${row.join("\t")}\n`).join("");
}

function table(result: Result): string {
  const heading = visible(result.image);
  if ("faces" in result) {
    const count = result.faces.length;
    if (!count) return `${heading}: no face\n`;
    const head = ["", "score", "x1", "y1", "x2", "y2", "width", "height"];
    const rows = [head, ...result.faces.map(faceRow)].map((row) => cells(row, [4, 6, 7, 7, 7, 7, 6, 6]));
    return [`${heading}: ${count} ${count === 1 ? "face" : "faces"}`, ...rows, ""].join("\n");
  }
  if (!result.predictions.length) return `${heading}: no label reaches the minimum score\n`;
  const rows = result.predictions.map(({ label, score, confidence }, index) =>
    `${cells([`${index + 1}`], [4])}  ${visible(label).padEnd(52)}  ${cells([percent(score)], [6])}  ${confidence}`,
  );
  return [heading, ...rows, ""].join("\n");
}

function faceRow({ box, score }: Face, index: number): string[] {
  const [x1, y1, x2, y2] = box;
  return [`${index + 1}`, percent(score), ...box.map((value) => value.toFixed(1)), (x2 - x1).toFixed(0), (y2 - y1).toFixed(0)];
}

function cells(row: readonly string[], widths: readonly number[]): string {
  return row.map((cell, index) => cell.padStart(widths[index] ?? 0)).join("  ");
}

function percent(score: number): string {
  return `${(100 * score).toFixed(1)}%`;
}

/** Control characters, line separators, bidirectional overrides and lone surrogates. */
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]/gu;
const SHORT: Readonly<Record<string, string>> = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

/** The text with what could move the cursor or break the line as `\n`, `\x1b`, `\u2028`. */
export function visible(value: string): string {
  return value.replace(UNSAFE, (mark) => {
    const code = mark.charCodeAt(0);
    return SHORT[mark] ?? (code < 128 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`);
  });
}

function oneLine(value: string): string {
  return visible(process.platform === "win32" ? value : value.replaceAll("\\", "\\\\"));
}
