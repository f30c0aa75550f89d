//go:build !race

package safetensors

const raceSlows = false
