package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/gojet/gojet/autograd"
)

// spread is a quantity over rounds.
type spread struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"` // of a round from the mean; 0 where there is one
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
}

func spreadOf(v []float64) *spread {
	if len(v) == 0 {
		return nil
	}
	s := &spread{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, x := range v {
		s.Mean += x / float64(len(v))
		s.Min, s.Max = min(s.Min, x), max(s.Max, x)
	}
	for _, x := range v {
		s.SD += (x - s.Mean) * (x - s.Mean)
	}
	if len(v) > 1 {
		s.SD = math.Sqrt(s.SD / float64(len(v)-1))
	} else {
		s.SD = 0
	}
	return s
}

// print is the mean with what it varies by.
func (s *spread) print() string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%.4g ± %.1f%%", s.Mean, 100*s.SD/s.Mean)
}

// peakMemory begins a new peak, and returns what reads it: the peak of the device's tensors, or of the process's resident memory, 0
// where the system does not tell. Where the system does not forget an old peak, it counts.
func peakMemory(m *autograd.Machine) func() int64 {
	if m.Device != nil {
		m.Device.ResetPeak()
		return func() int64 { return m.Device.Usage().Peak }
	}
	debug.FreeOSMemory()                                      // what an earlier model has left
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // not everywhere allowed
	return func() int64 {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return 0
		}
		return residentPeak(text)
	}
}

// residentPeak reads it, in bytes, from a process's status.
func residentPeak(status []byte) int64 {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}
