"""Neural networks for guests: the wasi-nn host functions and the TFLite interpreter behind them."""
