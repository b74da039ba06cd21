/**
 * The host functions of `wasi_ephemeral_nn` (witx dialect): pointers in, errno out.
 *
 * No call throws into the guest: whatever goes wrong is an errno, and the reason is kept in `session.lastError`.
 */
import type { GuestMemory } from "../guest/memory.js";
import { Errno, NnError, type Session } from "./session.js";

export const MODULE = "wasi_ephemeral_nn";
const MAX_RANK = 8;
const TENSOR_BYTES = 20;
const MAX_NAME = 256;

type HostFunction = (...parameters: number[]) => number;

/** The imports of a guest; `memory` is that of the instance, which exists only after they were given. */
export function hostFunctions(session: Session, memory: () => GuestMemory): Record<string, HostFunction> {
  const guard =
    (call: (...parameters: number[]) => void): HostFunction =>
    (...parameters) => {
      try {
        // WebAssembly hands every i32 over signed.
        call(...parameters.map((value) => value >>> 0));
        return Errno.SUCCESS;
      } catch (error) {
        session.lastError = (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
        if (error instanceof NnError) return error.errno;
        return error instanceof RangeError ? Errno.INVALID_ARGUMENT : Errno.RUNTIME_ERROR;
      }
    };
  const create = (out: number, make: () => number): void => {
    memory().bytes(out, 4); // first: a bad pointer fails before anything is made
    memory().setU32(out, make());
  };
  return {
    load: guard(() => {
      throw new NnError(Errno.UNSUPPORTED_OPERATION, "this host gives models by name only");
    }),
    load_by_name: guard((name = 0, length = 0, out = 0) =>
      create(out, () => {
        if (length > MAX_NAME) throw new NnError(Errno.INVALID_ARGUMENT, `a model's name of ${length} bytes`);
        return session.loadByName(memory().text(name, length));
      }),
    ),
    init_execution_context: guard((graph = 0, out = 0) => create(out, () => session.initExecutionContext(graph))),
    set_input: guard((context = 0, index = 0, tensor = 0) => {
      const guest = memory();
      guest.bytes(tensor, TENSOR_BYTES);
      const rank = guest.u32(tensor + 4);
      if (rank > MAX_RANK) {
        throw new NnError(Errno.INVALID_ARGUMENT, `a tensor of ${rank} dimensions; at most ${MAX_RANK} are possible`);
      }
      const dimensions = guest.u32(tensor);
      guest.bytes(dimensions, 4 * rank);
      const shape = Array.from({ length: rank }, (_, axis) => guest.u32(dimensions + 4 * axis));
      const type = guest.bytes(tensor + 8, 1)[0] ?? 0;
      session.setInput(context, index, shape, type, guest.bytes(guest.u32(tensor + 12), guest.u32(tensor + 16)));
    }),
    compute: guard((context = 0) => session.compute(context)),
    get_output: guard((context = 0, index = 0, buffer = 0, size = 0, written = 0) => {
      const guest = memory();
      guest.bytes(written, 4);
      const output = session.output(context, index);
      if (size < output.length) {
        guest.setU32(written, output.length);
        throw new NnError(Errno.TOO_LARGE, `an output of ${output.length} bytes does not fit a buffer of ${size}`);
      }
      guest.bytes(buffer, output.length).set(output);
      guest.setU32(written, output.length);
    }),
    finalize_execution_context: guard((context = 0) => session.finalizeExecutionContext(context)),
    unload: guard((graph = 0) => session.unload(graph)),
  };
}
