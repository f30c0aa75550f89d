//go:build race

package train

// raceDetector says that the test binary allocates on its own behalf.
const raceDetector = true
