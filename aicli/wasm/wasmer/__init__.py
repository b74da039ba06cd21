"""The adapter for wasmer with Cranelift."""
