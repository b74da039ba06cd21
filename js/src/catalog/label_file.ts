/** Label files: a name a line, numbered lines, a JSON list or map. What a file is, is seen from its text. */
import { LabelsError } from "../errors.js";

/** A number and what parts it from the name: anything but a blank is no part of a name. */
const NUMBERED = [
  /^(?<number>\d{1,9})(?<mark>\s*[:.,;=)\]|\t]\s*|\s+-\s+|\s+)(?<name>\S.*)$/,
  /^(?<name>\S.*?)(?<mark>\s*[:,;=|\t]\s*)(?<number>\d{1,9})$/,
];
const SYNSET = /^n\d{8}[\s,:;]\s*(\S.*)$/;
const QUOTED = /^(?<mark>["'])(?<name>.*)\k<mark>,?$/;
/** Numbers before blanks belong to the names where fewer than this part of the names differ without them. */
const SAME_NAMES = 0.9;
const COLUMN = /^(name|display_name|labels?|class_name|classname|class|category|title|id|index|idx|class_?id|label_id|number|no|)$/;

/** A larger file is no label file. */
export const MAX_LABEL_BYTES = 2 ** 26;

/** The labels in the bytes of a file, in the order of the classes. Throws LabelsError. */
export function parseLabels(bytes: Uint8Array, name: string): readonly string[] {
  const text = decode(bytes, name);
  const lines = text.split(/\r\n|\n|\r/).map((line) => line.trim());
  while (lines.at(-1) === "") lines.pop();
  const [first = ""] = lines;
  if (!lines.length) throw new LabelsError(`${name}: there are no labels in this file`);
  const json = /^\s*[[{]/.test(text) ? parsed(text) : undefined;
  if (json !== undefined) return fromJson(json, name);
  const foreign =
    /^\s*(<!doctype|<html|<\?xml)/i.test(text) ? "a web page or XML"
    : /^\s*item\s*\{/m.test(text) ? "a label map (pbtxt)"
    : /^names\s*:/m.test(text) ? "YAML"
    : /^\s*\{/.test(text) ? "broken JSON"
    : isTable(lines.length, first) ? "a table with a header"
    : undefined;
  if (foreign) throw new LabelsError(`${name}: this is ${foreign}; give a file with one name per line`);
  return fromLines(lines);
}

function decode(bytes: Uint8Array, name: string): string {
  const wide = (bytes[0] === 255 && bytes[1] === 254) || (bytes[0] === 254 && bytes[1] === 255);
  try {
    const encoding = wide ? (bytes[0] === 255 ? "utf-16le" : "utf-16be") : "utf-8";
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // said below
  }
  throw new LabelsError(`${name}: this is not text in UTF-8; a label file has one name per line`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isTable(lines: number, header: string): boolean {
  const separator = ["\t", ";", ","].find((mark) => header.includes(mark));
  return separator !== undefined && lines > 1 && header.toLowerCase().split(separator).every((cell) => COLUMN.test(cell.trim()));
}

function fromLines(lines: readonly string[]): readonly string[] {
  let names = withoutNumbers(lines) ?? lines;
  const ids = names.map((line) => SYNSET.exec(line)?.[1]?.trim());
  if (ids.every((found) => found !== undefined)) names = ids as string[];
  const quoted = names.map((line) => QUOTED.exec(line)?.groups?.["name"]);
  return quoted.every((found) => found !== undefined) ? (quoted as string[]) : names;
}

/** The names in the order of their numbers, where these are exactly those of the classes. */
function withoutNumbers(lines: readonly string[]): readonly string[] | undefined {
  for (const form of NUMBERED) {
    const groups = lines.map((line) => form.exec(line)?.groups);
    if (groups.includes(undefined)) continue;
    const names = inOrder(groups.map((found) => [Number(found?.["number"]), (found?.["name"] ?? "").trim()]));
    if (!names) continue;
    const marks = groups.map((found) => found?.["mark"] ?? "");
    if (marks.every((mark) => mark.trim() || mark.includes("\t"))) return names;
    // "2 fingers": one and many of the same thing are the same here.
    const kinds = new Set(names.map((name) => name.toLowerCase().replace(/s$/, "")));
    return kinds.size >= SAME_NAMES * names.length ? names : undefined;
  }
  return undefined;
}

/** The names by their numbers, which begin at 0 or 1 and leave none out. */
function inOrder(pairs: readonly (readonly [number, string])[]): readonly string[] | undefined {
  const byNumber = new Map(pairs);
  const start = byNumber.has(0) ? 0 : 1;
  const names = pairs.map((_, index) => byNumber.get(start + index));
  return byNumber.size === pairs.length && names.every((name) => name !== undefined) ? (names as string[]) : undefined;
}

function fromJson(value: unknown, name: string): readonly string[] {
  const strings = (list: unknown[]): list is string[] => list.length > 0 && list.every((item) => typeof item === "string");
  if (Array.isArray(value) && strings(value)) return value;
  if (value && typeof value === "object" && !Array.isArray(value)) {
    const entries = Object.entries(value);
    // Number to name, name to number, and Keras' class index, which has pairs of a WordNet id and a name.
    const pairs = entries.map(([key, item]): [number, unknown] =>
      /^\d{1,9}$/.test(key) ? [Number(key), Array.isArray(item) ? item.at(-1) : item] : [Number(item), key],
    );
    const found = strings(pairs.map(([, label]) => label)) && inOrder(pairs as [number, string][]);
    if (found) return found;
  }
  throw new LabelsError(`${name}: this is JSON, but neither a list of names nor a map between class numbers and names`);
}
