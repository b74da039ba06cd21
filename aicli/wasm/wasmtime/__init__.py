"""The adapter for wasmtime."""
