module tests/interop/tlogvectors

go 1.25.0

require (
	filippo.io/torchwood v0.9.0
	github.com/transparency-dev/merkle v0.0.3-0.20260707140218-77df88e508fa
)
