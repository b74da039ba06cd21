;; A guest in WebAssembly text, written from docs/guest-abi.md alone: nearest neighbour over the whole image into a
;; float32 input, one inference, and the one class with the highest score.
(module
  (import "wasi_ephemeral_nn" "load_by_name" (func $load_by_name (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "set_input" (func $set_input (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
  (import "wasi_ephemeral_nn" "get_output" (func $get_output (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; 16 result, 48 record, 64 dimensions, 96 tensor, 128 name, 144 graph, 148 context, 152 written, 160 message
  (data (i32.const 128) "classifier")
  (data (i32.const 160) "nearest.wat wants a float32 model")
  (global $next (mut i32) (i32.const 256))
  (global $input (mut i32) (i32.const 0))
  (global $output (mut i32) (i32.const 0))

  (func (export "aicli_abi_version") (result i32) (i32.const 1))

  (func $alloc (export "aicli_alloc") (param $size i32) (result i32)
    (local $at i32) (local $end i32) (local $have i32)
    (local.set $at (global.get $next))
    (local.set $end (i32.add (local.get $at) (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -16))))
    (local.set $have (i32.mul (memory.size) (i32.const 65536)))
    (if (i32.lt_u (local.get $end) (local.get $at)) (then (return (i32.const 0))))
    (if (i32.gt_u (local.get $end) (local.get $have)) (then
      (if (i32.eq (i32.const -1) (memory.grow (i32.shr_u
            (i32.add (i32.sub (local.get $end) (local.get $have)) (i32.const 65535)) (i32.const 16))))
        (then (return (i32.const 0))))))
    (global.set $next (local.get $end))
    (local.get $at))

  ;; Never gives anything back: the host keeps its blocks, and ours are made once.
  (func (export "aicli_dealloc") (param i32 i32))

  ;; A result with this status, and the errno where the network failed.
  (func $fail (param $status i32) (param $errno i32) (result i32)
    (i32.store (i32.const 16) (local.get $status))
    (i32.store (i32.const 20) (i32.const 0))
    (i32.store (i32.const 28) (i32.const 160))
    (i32.store (i32.const 32) (i32.const 33))
    (i32.store (i32.const 36) (local.get $errno))
    (i32.const 16))

  (func $prepare (param $request i32)
    (local $x i32) (local $y i32) (local $channel i32) (local $from i32) (local $to i32) (local $at i32)
    (local $wide i32) (local $high i32)
    (local.set $wide (i32.load offset=24 (local.get $request)))
    (local.set $high (i32.load offset=28 (local.get $request)))
    (local.set $to (global.get $input))
    (loop $rows
      (local.set $x (i32.const 0))
      (loop $columns
        ;; from = pixels + 3 * (y * height / high * width + x * width / wide)
        (local.set $from (i32.add (i32.load offset=4 (local.get $request)) (i32.mul (i32.const 3) (i32.add
          (i32.mul (i32.div_u (i32.mul (local.get $y) (i32.load offset=12 (local.get $request))) (local.get $high))
            (i32.load offset=8 (local.get $request)))
          (i32.div_u (i32.mul (local.get $x) (i32.load offset=8 (local.get $request))) (local.get $wide))))))
        (local.set $channel (i32.const 0))
        (loop $channels
          (local.set $at (i32.add (local.get $request) (i32.shl (local.get $channel) (i32.const 2))))
          ;; (pixel - mean) / std
          (f32.store (local.get $to) (f32.div
            (f32.sub (f32.convert_i32_u (i32.load8_u (i32.add (local.get $from) (local.get $channel))))
              (f32.load offset=44 (local.get $at)))
            (f32.load offset=56 (local.get $at))))
          (local.set $to (i32.add (local.get $to) (i32.const 4)))
          (br_if $channels (i32.lt_u (local.tee $channel (i32.add (local.get $channel) (i32.const 1))) (i32.const 3))))
        (br_if $columns (i32.lt_u (local.tee $x (i32.add (local.get $x) (i32.const 1))) (local.get $wide))))
      (br_if $rows (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $high)))))

  (func (export "aicli_classify") (param $request i32) (result i32)
    (local $errno i32) (local $bytes i32) (local $n i32) (local $score f32) (local $best f32)
    (if (i32.or (i32.ne (i32.load offset=32 (local.get $request)) (i32.const 1))
                (i32.ne (i32.load offset=88 (local.get $request)) (i32.const 1)))
      (then (return (call $fail (i32.const 1) (i32.const 0)))))
    (i32.store (i32.const 64) (i32.const 1))
    (i32.store (i32.const 68) (i32.load offset=28 (local.get $request)))
    (i32.store (i32.const 72) (i32.load offset=24 (local.get $request)))
    (i32.store (i32.const 76) (i32.const 3))
    (local.set $bytes (i32.mul (i32.const 12) (i32.mul (i32.load (i32.const 68)) (i32.load (i32.const 72)))))
    ;; The first image brings the model and the buffers along; they stay.
    (if (i32.eqz (global.get $input)) (then
      (if (local.tee $errno (call $load_by_name (i32.const 128) (i32.const 10) (i32.const 144)))
        (then (return (call $fail (i32.const 2) (local.get $errno)))))
      (if (local.tee $errno (call $init (i32.load (i32.const 144)) (i32.const 148)))
        (then (return (call $fail (i32.const 2) (local.get $errno)))))
      (global.set $output (call $alloc (i32.shl (i32.load offset=84 (local.get $request)) (i32.const 2))))
      (global.set $input (call $alloc (local.get $bytes)))
      (if (i32.eqz (i32.and (i32.ne (global.get $input) (i32.const 0)) (i32.ne (global.get $output) (i32.const 0))))
        (then (return (call $fail (i32.const 3) (i32.const 0)))))))
    (call $prepare (local.get $request))
    (i32.store (i32.const 96) (i32.const 64))
    (i32.store (i32.const 100) (i32.const 4))
    (i32.store (i32.const 104) (i32.const 1))
    (i32.store (i32.const 108) (global.get $input))
    (i32.store (i32.const 112) (local.get $bytes))
    (if (local.tee $errno (call $set_input (i32.load (i32.const 148)) (i32.const 0) (i32.const 96)))
      (then (return (call $fail (i32.const 2) (local.get $errno)))))
    (if (local.tee $errno (call $compute (i32.load (i32.const 148))))
      (then (return (call $fail (i32.const 2) (local.get $errno)))))
    (if (local.tee $errno (call $get_output (i32.load (i32.const 148)) (i32.load offset=80 (local.get $request))
          (global.get $output) (i32.shl (i32.load offset=84 (local.get $request)) (i32.const 2)) (i32.const 152)))
      (then (return (call $fail (i32.const 2) (local.get $errno)))))
    (local.set $best (f32.const -inf))
    (loop $classes
      (local.set $score (f32.load (i32.add (global.get $output) (i32.shl (local.get $n) (i32.const 2)))))
      (if (f32.gt (local.get $score) (local.get $best)) (then
        (local.set $best (local.get $score))
        (i32.store (i32.const 48) (local.get $n))
        (f32.store (i32.const 52) (local.get $score))))
      (br_if $classes (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.load offset=84 (local.get $request)))))
    (i32.store (i32.const 16) (i32.const 0))
    (i32.store (i32.const 20) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 48))
    (i32.store (i32.const 28) (i32.const 0))
    (i32.store (i32.const 32) (i32.const 0))
    (i32.store (i32.const 36) (i32.const 0))
    (i32.const 16)))
