//go:build race

package launch

// raceDetector says that the test binary is many times slower.
const raceDetector = true
