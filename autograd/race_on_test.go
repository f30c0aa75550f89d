//go:build race

package autograd

// raceDetector says that the test binary allocates on its own behalf.
const raceDetector = true
