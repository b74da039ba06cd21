/** Writes a limit on memory into a module: JavaScript's API has none for a memory that the module makes itself. */
import { GuestError } from "../errors.js";

export const PAGE = 65536;
const MEMORY_SECTION = 5;

/** The module with its memory's maximum lowered to `limit` bytes. Throws GuestError where it begins with more. */
export function withMemoryLimit(module: Uint8Array, limit: number): Uint8Array {
  const most = Math.floor(limit / PAGE);
  let place = 8; // behind "\0asm" and the version
  while (place < module.length) {
    const id = module[place];
    const size = readVarint(module, place + 1);
    const end = size.next + size.value;
    if (id === MEMORY_SECTION) {
      const body = limited(module.subarray(size.next, end), most);
      return join([module.subarray(0, place), [MEMORY_SECTION], varint(body.length), body, module.subarray(end)]);
    }
    place = end;
  }
  return module;
}

/** The section's content with another maximum: a count, then for each memory flags, minimum and maximum. */
function limited(section: Uint8Array, most: number): number[] {
  const count = readVarint(section, 0);
  if (count.value !== 1) return [...section];
  const flags = section[count.next] ?? 0;
  const least = readVarint(section, count.next + 1);
  const own = flags & 1 ? readVarint(section, least.next).value : most;
  if (least.value > most) {
    throw new GuestError(`it begins with ${least.value * PAGE} bytes of memory where ${most * PAGE} are allowed`);
  }
  return [1, flags | 1, ...varint(least.value), ...varint(Math.min(own, most))];
}

function readVarint(bytes: Uint8Array, place: number): { value: number; next: number } {
  let value = 0;
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = bytes[place++];
    if (byte === undefined) break;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, next: place };
  }
  throw new GuestError("it is not a WebAssembly module that can be read");
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  do {
    const rest = Math.floor(value / 128);
    bytes.push((value % 128) | (rest ? 128 : 0));
    value = rest;
  } while (value);
  return bytes;
}

function join(parts: readonly (Uint8Array | number[])[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
