"""What guests of other hosts call: WasmEdge, SSVM, and the generations of wasi-nn."""
