/** The bytes are not the FlatBuffer that they claim to be. */
export class DamagedError extends Error {}

/**
 * A table of a FlatBuffer at an absolute position; fields go by their number in the schema, counted from 0.
 * No offset is trusted: one that leads out of the bytes throws {@link DamagedError}.
 */
export class Table {
  private readonly vtable: number;
  private readonly vtableSize: number;

  constructor(
    private readonly data: DataView,
    private readonly position: number,
  ) {
    this.vtable = position - at(data, position, 4).getInt32(position, true);
    this.vtableSize = at(data, this.vtable, 2).getUint16(this.vtable, true);
  }

  private field(number: number): number {
    const entry = 4 + 2 * number;
    if (entry + 2 > this.vtableSize) return 0;
    const place = this.vtable + entry;
    const offset = at(this.data, place, 2).getUint16(place, true);
    return offset ? this.position + offset : 0;
  }

  private follow(place: number): number {
    return place + at(this.data, place, 4).getUint32(place, true);
  }

  u8(field: number, absent = 0): number {
    const place = this.field(field);
    return place ? at(this.data, place, 1).getUint8(place) : absent;
  }

  i32(field: number, absent = 0): number {
    const place = this.field(field);
    return place ? at(this.data, place, 4).getInt32(place, true) : absent;
  }

  table(field: number): Table | undefined {
    const place = this.field(field);
    return place ? new Table(this.data, this.follow(place)) : undefined;
  }

  /** Where the elements of a vector begin and how many there are. */
  vector(field: number, size: number): { begin: number; count: number } {
    const place = this.field(field);
    if (!place) return { begin: 0, count: 0 };
    const start = this.follow(place);
    const count = at(this.data, start, 4).getUint32(start, true);
    at(this.data, start + 4, count * size);
    return { begin: start + 4, count };
  }

  private numbers(field: number, size: number, read: (place: number) => number): number[] {
    const { begin, count } = this.vector(field, size);
    return Array.from({ length: count }, (_, index) => read(begin + size * index));
  }

  i32s(field: number): number[] {
    return this.numbers(field, 4, (place) => this.data.getInt32(place, true));
  }

  f32s(field: number): number[] {
    return this.numbers(field, 4, (place) => this.data.getFloat32(place, true));
  }

  /** A vector of 64-bit integers that are small enough to be numbers. */
  i64s(field: number): number[] {
    return this.numbers(field, 8, (place) => Number(this.data.getBigInt64(place, true)));
  }

  tables(field: number): Table[] {
    const { begin, count } = this.vector(field, 4);
    return Array.from({ length: count }, (_, index) => new Table(this.data, this.follow(begin + 4 * index)));
  }

  bytes(field: number): Uint8Array {
    const { begin, count } = this.vector(field, 1);
    return new Uint8Array(this.data.buffer, this.data.byteOffset + begin, count);
  }

  text(field: number): string {
    return new TextDecoder().decode(this.bytes(field));
  }
}

function at(data: DataView, place: number, size: number): DataView {
  if (place < 0 || place + size > data.byteLength) {
    throw new DamagedError(`an offset points to byte ${place} of ${data.byteLength}`);
  }
  return data;
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The root table of a FlatBuffer with this file identifier (four letters at offset 4). */
export function root(bytes: Uint8Array, identifier: string): Table {
  const data = view(bytes);
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(4, 8)) !== identifier) {
    throw new DamagedError(`it does not carry the identifier ${identifier}`);
  }
  return new Table(data, data.getUint32(0, true));
}
