/** A guest's memory, bounds checked. Views are made anew when the memory has grown: growth detaches the old buffer. */
export class GuestMemory {
  private whole = new Uint8Array(0);
  private words = new DataView(new ArrayBuffer(0));

  constructor(private readonly memory: WebAssembly.Memory) {}

  private refresh(): void {
    const { buffer } = this.memory;
    if (this.whole.buffer === buffer) return;
    this.whole = new Uint8Array(buffer);
    this.words = new DataView(buffer);
  }

  /** A view of `length` bytes, valid until the guest runs again. Throws RangeError outside the memory. */
  bytes(pointer: number, length: number): Uint8Array {
    this.refresh();
    if (pointer + length > this.whole.length) {
      throw new RangeError(`bytes ${pointer} to ${pointer + length} of a memory of ${this.whole.length}`);
    }
    return this.whole.subarray(pointer, pointer + length);
  }

  u32(pointer: number): number {
    this.bytes(pointer, 4);
    return this.words.getUint32(pointer, true);
  }

  f32(pointer: number): number {
    this.bytes(pointer, 4);
    return this.words.getFloat32(pointer, true);
  }

  setU32(pointer: number, value: number): void {
    this.bytes(pointer, 4);
    this.words.setUint32(pointer, value, true);
  }

  text(pointer: number, length: number): string {
    return new TextDecoder().decode(this.bytes(pointer, length));
  }
}
