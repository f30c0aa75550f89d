//go:build race

package safetensors

// raceSlows tells tests that the race detector makes everything an order of magnitude slower.
const raceSlows = true
