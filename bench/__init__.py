"""Side-by-side benchmarks. Each prints ratios from one run: rates of two runs on one machine differ by half."""
