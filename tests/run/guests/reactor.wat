;; A reactor: add answers only after _initialize was called; hello writes to standard output.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "hello\n")
  (global $ready (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $ready (i32.const 1)))
  (func (export "add") (param i32 i64) (result i64)
    (if (i32.eqz (global.get $ready)) (then (unreachable)))
    (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))
  (func (export "hello")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
